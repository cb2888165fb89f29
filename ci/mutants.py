"""The mutants of a list, all in one program; see ci/mutants, which starts this.

usage: mutants.py SOURCES WORK PATTERN
WORK holds list.json, as `cargo mutants --list --json` prints it; WORK/results tells who killed whom.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tree_sitter_rust
from tree_sitter import Language, Parser

# The tests, and those that see most come first.
TESTS = ["views", "allocations", "threads", "interface", "lib", "gemm", "precision", "bf16"]
PARSER = Parser(Language(tree_sitter_rust.language()))
# What decides at run time which mutant is alive: read before `main`, so that it is there for every test.
SWITCH = """
static MUTANT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(u32::MAX);
extern "C" fn choose() {
    if let Ok(n) = std::env::var("MUTANT") {
        MUTANT.store(n.parse().unwrap(), std::sync::atomic::Ordering::Relaxed);
    }
}
#[used]
#[unsafe(link_section = ".init_array")]
static CHOOSE: extern "C" fn() = choose;
#[inline(always)]
pub(crate) fn mutant(n: u32) -> bool {
    MUTANT.load(std::sync::atomic::Ordering::Relaxed) == n
}
"""


def constant(node):
    """Whether the compiler evaluates it, so that nothing can be chosen when the program runs."""
    while node:
        if node.type in ("const_item", "static_item", "type_arguments", "array_type"):
            return True
        if node.type == "function_item":
            return any(c.type == "function_modifiers" and b"const" in c.text for c in node.children)
        node = node.parent
    return False


def opaque(function):
    """Whether a function returns an `impl Trait`, which is one type, so that no mutant can return another."""
    kind = function.child_by_field_name("return_type")
    return kind is not None and kind.type == "abstract_type"


class File:
    """A source file and the mutants in it."""

    def __init__(self, data, mutants):
        self.data, self.placed = data, set()
        starts = [0]
        for line in data.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)

        def offset(place):
            line = data[starts[place["line"] - 1] :].split(b"\n", 1)[0].decode()
            return starts[place["line"] - 1] + len(line[: place["column"] - 1].encode())

        self.at = {}
        for n, m in mutants:
            span = offset(m["span"]["start"]), offset(m["span"]["end"])
            # A function's value is known by where its body begins, all others by what is replaced.
            key = (m["genre"], span[0]) if m["genre"] in ("FnValue", "UnaryOperator") else (m["genre"], *span)
            self.at.setdefault(key, []).append((n, m["replacement"]))

    def take(self, *key):
        found = self.at.pop(key, [])
        self.placed.update(n for n, _ in found)
        return found

    def without(self, node, part):
        """The text of a node without a part of it and the comma after that."""
        end = part.end_byte
        while self.data[end : end + 1] in (b",", b" "):
            end += 1
        return (self.data[node.start_byte : part.start_byte] + self.data[end : node.end_byte]).decode()

    def variants(self, node):
        """The mutants of this node itself: number and text."""
        text = lambda name: node.child_by_field_name(name).text.decode()
        if node.type in ("binary_expression", "compound_assignment_expr"):
            op = node.child_by_field_name("operator")
            left = text("left") if node.type != "binary_expression" else f"({text('left')})"
            found = self.take("BinaryOperator", op.start_byte, op.end_byte)
            return [(n, f"{left} {new} ({text('right')})") for n, new in found]
        if node.type == "unary_expression":
            return [(n, node.children[-1].text.decode()) for n, _ in self.take("UnaryOperator", node.start_byte)]
        if node.parent and node.parent.type == "match_pattern":
            return self.take("MatchArmGuard", node.start_byte, node.end_byte)
        if node.type == "struct_expression":
            fields = node.child_by_field_name("body").named_children
            found = [(f, self.take("StructField", f.start_byte, f.end_byte)) for f in fields]
            return [(n, self.without(node, f)) for f, mutants in found for n, _ in mutants]
        if node.type == "match_expression":
            arms = node.child_by_field_name("body").named_children
            found = [(a, self.take("MatchArm", a.start_byte, a.end_byte)) for a in arms]
            return [(n, self.without(node, a)) for a, mutants in found for n, _ in mutants]
        return []

    def text(self, node):
        """The text of a node, with a choice wherever there is a mutant."""
        variants = [] if constant(node) else self.variants(node)
        pieces, at = [], node.start_byte
        for child in node.children:
            pieces.append(self.data[at : child.start_byte].decode())
            body = node.type == "block" and node.parent.type == "function_item"
            if body and not constant(node) and not opaque(node.parent):
                for n, value in self.take("FnValue", child.start_byte):
                    pieces.append(f"if crate::mutant({n}) {{ return {value}; }} ")
            # A comparison after `as usize` would be read as a generic argument.
            operand = variants and node.type == "binary_expression" and child.is_named
            pieces.append(f"({self.text(child)})" if operand else self.text(child))
            at = child.end_byte
        pieces.append(self.data[at : node.end_byte].decode())
        plain = "".join(pieces)
        if not variants:
            return plain
        choice = "".join(f"if crate::mutant({n}) {{ {new} }} else " for n, new in variants) + f"{{ {plain} }}"
        return choice if node.parent.type == "expression_statement" else f"({choice})"


def write(sources, copy, mutants, unviable):
    """Writes the sources with all mutants that are not known to be unviable; returns the numbers of those placed."""
    placed = set()
    for file in {m["file"] for m in mutants}:
        mine = [(n, m) for n, m in enumerate(mutants) if m["file"] == file and n not in unviable]
        parsed = File((sources / file).read_bytes(), mine)
        root = PARSER.parse(parsed.data).root_node
        (copy / file).write_text(parsed.text(root))
        placed |= parsed.placed
    library = (sources / "kernels/src/lib.rs").read_text()
    allowed = "#![allow(arithmetic_overflow, unconditional_panic, warnings)]\n"
    (copy / "kernels/src/lib.rs").write_text(allowed + library + SWITCH)
    return placed


def cargo(copy, *args):
    command = ["cargo", *args, "-p", "kernels", "--message-format=json"]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    return run.returncode, [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")], run.stderr


def viable(sources, copy, mutants):
    """Takes out the mutants that do not compile, as the compiler names them."""
    unviable = set()
    while True:
        placed = write(sources, copy, mutants, unviable)
        status, messages, stderr = cargo(copy, "check")
        if status == 0:
            return placed, unviable
        before = len(unviable)
        for message in (m["message"] for m in messages if m["reason"] == "compiler-message"):
            for span in message["spans"] if message["level"] == "error" else []:
                line = (copy / span["file_name"]).read_text().split("\n")[span["line_start"] - 1]
                names = [m for m in re.finditer(r"crate::mutant\((\d+)\)", line) if m.start() < span["column_start"]]
                unviable.update(int(m[1]) for m in names[-1:])
        if len(unviable) == before:
            sys.exit(f"mutants: the copy does not compile\n{stderr}")


def run(program, folder, number, seconds):
    """Runs tests until one fails; its name, or None. A test that never ends has no processor time left some day."""
    env = dict(os.environ, RUST_BACKTRACE="0", **({} if number is None else {"MUTANT": str(number)}))
    limit = lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    pipe = subprocess.Popen(
        [program], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=limit
    )
    failed = None
    for line in pipe.stdout:
        if "FAILED" in line:
            failed = line.split()[1] if line.startswith("test ") else "a test"
            pipe.kill()
            break
    pipe.stdout.close()
    status = pipe.wait()
    return failed or (None if status == 0 else f"signal {-status}" if status < 0 else f"status {status}")


def main():
    sources, work, pattern = Path(sys.argv[1]), Path(sys.argv[2]), re.compile(sys.argv[3])
    mutants = json.loads((work / "list.json").read_text())
    copy = work / "copy"
    shutil.rmtree(copy / "kernels", ignore_errors=True)
    copy.mkdir(exist_ok=True)
    for name in ("README.md", "docs", "kernels", "Cargo.lock"):
        copied = shutil.copytree if (sources / name).is_dir() else shutil.copy
        copied(sources / name, copy / name, **({"dirs_exist_ok": True} if copied is shutil.copytree else {}))
    manifest = (sources / "Cargo.toml").read_text()
    manifest = re.sub(r"members = .*", 'members = ["kernels"]', re.sub(r"default-members = .*\n", "", manifest))
    # The lints of the workspace are not those of mutants.
    (copy / "Cargo.toml").write_text(re.sub(r"(?ms)^(\[workspace\.lints\.\w+\]\n).*?(?=^\[|\Z)", r"\1", manifest))

    placed, unviable = viable(sources, copy, mutants)
    rest = len(mutants) - len(unviable) - len(placed)
    told = f"{len(unviable)} do not compile, {rest} stand in constants, macros or functions of an opaque type"
    print(f"{len(mutants)} mutants: {told}", flush=True)
    os.environ.update(CARGO_PROFILE_RELEASE_OPT_LEVEL="2", CARGO_PROFILE_RELEASE_DEBUG="0")
    status, messages, stderr = cargo(copy, "test", "--release", "--no-run", "--lib", "--tests")
    if status:
        sys.exit(f"mutants: the tests do not build\n{stderr}")
    programs = {}
    for m in messages:
        if m["reason"] == "compiler-artifact" and m["profile"]["test"] and m["executable"]:
            programs["lib" if "lib" in m["target"]["kind"] else m["target"]["name"]] = m["executable"]
    folder = copy / "kernels"
    limits = {}
    for test in TESTS:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        if failed := run(programs[test], folder, None, 600):
            sys.exit(f"mutants: {test}: {failed} fails without a mutant")
        # Seconds; with a mutant that turns for ever, no more than a few times what it takes without.
        limits[test] = 5 + 5 * int(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)

    explained = [
        line.split(" -- ")[0] for line in (sources / "docs/mutants.txt").read_text().splitlines() if " -- " in line
    ]
    lock, survivors, results = threading.Lock(), [], (work / "results").open("w")

    def attempt(n):
        found = ((test, run(programs[test], folder, n, limits[test])) for test in TESTS)
        killer = next((f"{test}: {failed}" for test, failed in found if failed), "survived")
        with lock:
            print(killer, mutants[n]["name"], sep="\t", file=results, flush=True)
            if killer == "survived":
                survivors.append(mutants[n]["name"])

    chosen = [n for n in sorted(placed) if pattern.search(mutants[n]["name"])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(attempt, chosen))
    # A reason is for a mutant wherever its line has gone.
    unexplained = [s for s in survivors if re.sub(r":\d+:\d+:", ":", s) not in explained]
    known = len(survivors) - len(unexplained)
    print(f"{len(chosen)} tried: {len(chosen) - len(survivors)} killed, {known} explained in docs/mutants.txt")
    if unexplained:
        sys.exit("\n".join(["mutants that no test sees:", *sorted(unexplained)]))


main()
