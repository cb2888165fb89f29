// Preloaded before the library, counts the calls of its BLAS names, and says at the end how many there were and which
// library served them. x86-64 ELF: a name is two instructions, so no argument is touched.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

#define COUNTED(name) \
  __attribute__((visibility("hidden"))) unsigned long calls_##name; \
  __attribute__((visibility("hidden"))) void *next_##name; \
  __asm__(".pushsection .text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n" \
          "lock incq calls_" #name "(%rip)\njmp *next_" #name "(%rip)\n.popsection\n");
#define ALL(X) X(sgemm_) X(dgemm_) X(sgemv_) X(dgemv_) X(cblas_sgemm) X(cblas_dgemm) X(cblas_sgemv) X(cblas_dgemv)

ALL(COUNTED)

#define FIND(name) next_##name = dlsym(RTLD_NEXT, #name);
__attribute__((constructor)) static void start(void) {
  ALL(FIND)
}

static void tell(const char *name, unsigned long calls, void *next) {
  Dl_info info;
  if (calls) fprintf(stderr, "%s %lu %s\n", name, calls, dladdr(next, &info) ? info.dli_fname : "?");
}

#define TELL(name) tell(#name, calls_##name, next_##name);
__attribute__((destructor)) static void end(void) {
  ALL(TELL)
}
