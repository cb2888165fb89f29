//! AMX for tests on CPUs without it: each of its instructions raises SIGILL, whose handler does what the manual says
//! that the instruction does, and goes on behind it. So the very bytes of the kernels run on every x86-64 machine.

use super::model::{STEP, tdpbf16ps};
use crate::isa::amx;
use std::cell::UnsafeCell;
use std::sync::OnceLock;

const TILE: usize = 16;

type Tile = [[u32; TILE]; TILE];

/// The tile unit of a thread.
struct State {
    config: [u8; 64],
    tiles: [Tile; 8],
    executed: u64,
}

thread_local! {
    static STATE: UnsafeCell<State> =
        const { UnsafeCell::new(State { config: [0; 64], tiles: [[[0; TILE]; TILE]; 8], executed: 0 }) };
}

/// Makes the instructions work, by the CPU where it has them. Whether they are emulated.
pub(super) fn install() -> bool {
    static EMULATED: OnceLock<bool> = OnceLock::new();
    *EMULATED.get_or_init(|| {
        if amx::usable() {
            return false;
        }
        // SAFETY: the handler has the signature that SA_SIGINFO asks for, and touches only its thread's state and what
        // the instruction names.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_illegal_instruction as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
            assert_eq!(libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut()), 0);
        }
        true
    })
}

/// How many instructions were emulated on this thread.
pub(super) fn executed() -> u64 {
    // SAFETY: the handler, the only other user, does not run during this.
    STATE.with(|state| unsafe { (*state.get()).executed })
}

/// An instruction, decoded.
#[derive(Debug, PartialEq)]
enum Instruction {
    LoadConfig { from: usize },
    StoreConfig { to: usize },
    Release,
    Zero { tile: usize },
    Load { tile: usize, from: usize, stride: usize },
    Store { tile: usize, to: usize, stride: usize },
    Multiply { c: usize, a: usize, b: usize },
}

/// The general registers, by their number.
type Registers = [usize; 16];

/// The instruction at `code`, and its length; `None` for one that is not of AMX.
///
/// # Safety
/// Whole instructions are readable there.
unsafe fn decode(code: *const u8, registers: &Registers) -> Option<(Instruction, usize)> {
    // SAFETY: no byte beyond the instruction is read: each is asked for by those before.
    let byte = |i: usize| unsafe { *code.add(i) };
    // VEX, three bytes: map 0F38, W = 0, 128 bits.
    let (b1, b2) = (if byte(0) == 0xc4 { byte(1) } else { return None }, byte(2));
    if b1 & 0x1f != 2 || b2 & 0x84 != 0 {
        return None;
    }
    let (opcode, modrm) = (byte(3), byte(4));
    let prefix = b2 & 3;
    let third = usize::from(!b2 >> 3 & 15);
    let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
    let (no_x, no_b) = (b1 & 0x40 != 0, b1 & 0x20 != 0);
    let high = |inverted: bool| if inverted { 0 } else { 8 };
    if mode == 3 {
        let instruction = match (opcode, prefix) {
            (0x49, 0) if modrm == 0xc0 => Instruction::Release,
            (0x49, 3) => Instruction::Zero { tile: reg },
            (0x5c, 2) => Instruction::Multiply { c: reg, a: rm, b: third },
            _ => return None,
        };
        return Some((instruction, 5));
    }
    let mut len = 5;
    let (mut base, mut stride) = (registers[rm + high(no_b)], 0);
    if rm == 4 {
        let sib = byte(5);
        len += 1;
        let (scale, index, base_reg) = (sib >> 6, usize::from(sib >> 3 & 7) + high(no_x), usize::from(sib & 7));
        assert!(mode != 0 || base_reg != 5, "a base without a register");
        base = registers[base_reg + high(no_b)];
        stride = if index == 4 { 0 } else { registers[index] << scale };
    } else {
        assert!(mode != 0 || rm != 5, "an address relative to the instruction");
    }
    let displacement = match mode {
        0 => 0,
        1 => isize::from(byte(len).cast_signed()),
        _ => i32::from_le_bytes([byte(len), byte(len + 1), byte(len + 2), byte(len + 3)]) as isize,
    };
    len += [0, 1, 4][usize::from(mode)];
    let at = base.wrapping_add_signed(displacement);
    let instruction = match (opcode, prefix) {
        (0x49, 0) => Instruction::LoadConfig { from: at },
        (0x49, 1) => Instruction::StoreConfig { to: at },
        (0x4b, 1 | 3) if rm == 4 => Instruction::Load { tile: reg, from: at, stride },
        (0x4b, 2) if rm == 4 => Instruction::Store { tile: reg, to: at, stride },
        _ => return None,
    };
    Some((instruction, len))
}

/// C += A B.
#[inline(always)]
fn multiply(c: &mut Tile, a: &Tile, b: &Tile) {
    let halves =
        |pairs: [u32; TILE]| -> [u16; STEP] { std::array::from_fn(|p| (pairs[p / 2] >> (16 * (p % 2))) as u16) };
    let columns: [_; TILE] = std::array::from_fn(|j| halves(std::array::from_fn(|q| b[q][j])));
    for (row, &a) in c.iter_mut().zip(a) {
        let a = halves(a);
        for (x, b) in row.iter_mut().zip(&columns) {
            *x = tdpbf16ps(f32::from_bits(*x), &a, b).to_bits();
        }
    }
}

/// The same, without a call for each FMA.
#[target_feature(enable = "fma")]
fn multiply_with_fma(c: &mut Tile, a: &Tile, b: &Tile) {
    multiply(c, a, b);
}

impl State {
    /// Rows and bytes a row of a tile, which must be configured.
    fn shape(&self, tile: usize) -> (usize, usize) {
        let bytes = u16::from_le_bytes([self.config[16 + 2 * tile], self.config[17 + 2 * tile]]);
        let shape = (usize::from(self.config[48 + tile]), usize::from(bytes));
        assert!(self.config[0] == 1 && shape.0 > 0 && shape.1 > 0, "tile {tile} is not configured");
        shape
    }

    /// # Safety
    /// What the instruction names is readable, or writable.
    unsafe fn execute(&mut self, instruction: &Instruction) {
        self.executed += 1;
        match *instruction {
            Instruction::LoadConfig { from } => {
                // SAFETY: the caller's promise.
                self.config = unsafe { *(from as *const [u8; 64]) };
                assert!(self.config[0] <= 1 && self.config[1] == 0, "a palette that there is, and no start row");
                assert!(self.config[2..16].iter().chain(&self.config[32..48]).all(|&b| b == 0), "reserved bytes");
                self.tiles = [[[0; TILE]; TILE]; 8];
            }
            // SAFETY: the caller's promise.
            Instruction::StoreConfig { to } => unsafe { *(to as *mut [u8; 64]) = self.config },
            Instruction::Release => {
                self.config = [0; 64];
                self.tiles = [[[0; TILE]; TILE]; 8];
            }
            Instruction::Zero { tile } => {
                self.shape(tile);
                self.tiles[tile] = [[0; TILE]; TILE];
            }
            Instruction::Load { tile, from, stride } => {
                let (rows, bytes) = self.shape(tile);
                self.tiles[tile] = [[0; TILE]; TILE];
                for (i, row) in self.tiles[tile].iter_mut().take(rows).enumerate() {
                    let from = from.wrapping_add(i * stride) as *const u32;
                    for (j, x) in row.iter_mut().take(bytes / 4).enumerate() {
                        // SAFETY: the caller's promise.
                        *x = unsafe { from.add(j).read_unaligned() };
                    }
                }
            }
            Instruction::Store { tile, to, stride } => {
                let (rows, bytes) = self.shape(tile);
                for (i, row) in self.tiles[tile].iter().take(rows).enumerate() {
                    let to = to.wrapping_add(i * stride) as *mut u32;
                    for (j, x) in row.iter().take(bytes / 4).enumerate() {
                        // SAFETY: the caller's promise.
                        unsafe { to.add(j).write_unaligned(*x) };
                    }
                }
            }
            Instruction::Multiply { c, a, b } => {
                assert!(a != b && b != c && a != c, "three tiles");
                let full = (TILE, 4 * TILE);
                assert!([a, b, c].iter().all(|&tile| self.shape(tile) == full), "only whole tiles are emulated");
                let (a, b) = (self.tiles[a], self.tiles[b]);
                if is_x86_feature_detected!("fma") {
                    // SAFETY: the CPU has it.
                    unsafe { multiply_with_fma(&mut self.tiles[c], &a, &b) }
                } else {
                    multiply(&mut self.tiles[c], &a, &b);
                }
            }
        }
    }
}

extern "C" fn on_illegal_instruction(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    use libc::*;
    const NUMBERS: [c_int; 16] = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11,
        REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    // SAFETY: the kernel passes the context of the thread; the instruction was fetched, so it is readable; what an
    // instruction of this crate names is, by its own obligations.
    unsafe {
        let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        let values: Registers = NUMBERS.map(|i| registers[i as usize] as usize);
        let code = registers[REG_RIP as usize] as *const u8;
        match decode(code, &values) {
            Some((instruction, len)) => {
                STATE.with(|state| (*state.get()).execute(&instruction));
                registers[REG_RIP as usize] += len as greg_t;
            }
            // Not ours: it happens again, and ends the process.
            None => {
                signal(SIGILL, SIG_DFL);
            }
        }
    }
}

#[test]
fn instructions_are_decoded() {
    let registers: Registers = std::array::from_fn(|i| 1000 * (i + 1));
    // As LLVM's assembler writes them.
    for (code, want) in [
        (&[0xc4, 0xe2, 0x78, 0x49, 0xc0][..], Instruction::Release),
        (&[0xc4, 0xe2, 0x78, 0x49, 0x00], Instruction::LoadConfig { from: 1000 }),
        (&[0xc4, 0xe2, 0x79, 0x49, 0x44, 0x24, 0x40], Instruction::StoreConfig { to: 5064 }),
        (&[0xc4, 0xe2, 0x7b, 0x49, 0xd8], Instruction::Zero { tile: 3 }),
        (&[0xc4, 0xe2, 0x7b, 0x4b, 0x34, 0x11], Instruction::Load { tile: 6, from: 2000, stride: 3000 }),
        (&[0xc4, 0xe2, 0x79, 0x4b, 0x34, 0x11], Instruction::Load { tile: 6, from: 2000, stride: 3000 }),
        (&[0xc4, 0xc2, 0x7a, 0x4b, 0x4c, 0x18, 0x80], Instruction::Store { tile: 1, to: 8872, stride: 4000 }),
        (&[0xc4, 0xe2, 0x4a, 0x5c, 0xc4], Instruction::Multiply { c: 0, a: 4, b: 6 }),
    ] {
        // SAFETY: whole instructions.
        let found = unsafe { decode(code.as_ptr(), &registers) };
        assert_eq!(found, Some((want, code.len())));
    }
}
