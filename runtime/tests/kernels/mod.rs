//! Kernels assembled by hand, and programs over them.
#![allow(dead_code)] // each test file uses a part of this

use lapidary_runtime::{Address, Buffer, Code, Image, Launch, Level, Machine, Program, Weights};

/// A kernel's name and its code: in `rdi` the arguments, in `rsi` the symbols, in `rdx` the scratch, in `rcx` the
/// worker, in `r8` the workers.
type Assembled = (&'static str, &'static [u8]);

/// Each worker stores the first symbol to its 64-bit cell of the first argument.
pub const FILL: Assembled = (
    "fill",
    &[
        0x48, 0x8b, 0x07, //                mov  rax, [rdi]
        0x4c, 0x8b, 0x0e, //                mov  r9, [rsi]
        0x4c, 0x89, 0x0c, 0xc8, //          mov  [rax+rcx*8], r9
        0x31, 0xc0, //                      xor  eax, eax
        0xc3, //                            ret
    ],
);

/// Each worker stores the sum of all workers' cells of the first argument to its cell of the second.
pub const TOTAL: Assembled = (
    "total",
    &[
        0x48, 0x8b, 0x07, //                mov  rax, [rdi]
        0x4c, 0x8b, 0x4f, 0x08, //          mov  r9, [rdi+8]
        0x45, 0x31, 0xd2, //                xor  r10d, r10d
        0x45, 0x31, 0xdb, //                xor  r11d, r11d
        0x4e, 0x03, 0x14, 0xd8, //       1: add  r10, [rax+r11*8]
        0x49, 0xff, 0xc3, //                inc  r11
        0x4d, 0x39, 0xc3, //                cmp  r11, r8
        0x7c, 0xf4, //                      jl   1b
        0x4d, 0x89, 0x14, 0xc9, //          mov  [r9+rcx*8], r10
        0x31, 0xc0, //                      xor  eax, eax
        0xc3, //                            ret
    ],
);

/// Each worker adds 1 to its cell of the first argument.
pub const COUNT: Assembled = (
    "count",
    &[
        0x48, 0x8b, 0x07, //                mov  rax, [rdi]
        0x48, 0xff, 0x04, 0xc8, //          inc  qword [rax+rcx*8]
        0x31, 0xc0, //                      xor  eax, eax
        0xc3, //                            ret
    ],
);

/// Each worker stores where its scratch is to its cell of the first argument.
pub const WHERE: Assembled = (
    "where",
    &[
        0x48, 0x8b, 0x07, //                mov  rax, [rdi]
        0x48, 0x89, 0x14, 0xc8, //          mov  [rax+rcx*8], rdx
        0x31, 0xc0, //                      xor  eax, eax
        0xc3, //                            ret
    ],
);

/// The last worker counts one index outside its axis.
pub const OUTSIDE: Assembled = (
    "outside",
    &[
        0x31, 0xc0, //                      xor  eax, eax
        0x48, 0xff, 0xc1, //                inc  rcx
        0x4c, 0x39, 0xc1, //                cmp  rcx, r8
        0x0f, 0x94, 0xc0, //                sete al
        0xc3, //                            ret
    ],
);

/// Worker 0 alone: given tokens, positions, slots, wanted and logits of a vocabulary of 4, with the symbols R, K, N,
/// each wanted row's logits are its token, its position, its slot, and K.
pub const MODEL: Assembled = (
    "model",
    &[
        0x48, 0x85, 0xc9, //                test rcx, rcx
        0x75, 0x57, //                      jne  3f
        0x4c, 0x8b, 0x47, 0x18, //          mov  r8, [rdi+24]
        0x4c, 0x8b, 0x4f, 0x20, //          mov  r9, [rdi+32]
        0x31, 0xc9, //                      xor  ecx, ecx
        0x48, 0x3b, 0x4e, 0x10, //       2: cmp  rcx, [rsi+16]
        0x7d, 0x47, //                      jge  3f
        0x4d, 0x63, 0x14, 0x88, //          movsxd r10, dword [r8+rcx*4]
        0x48, 0x8b, 0x07, //                mov  rax, [rdi]
        0xf3, 0x42, 0x0f, 0x2a, 0x04, 0x90, //   cvtsi2ss xmm0, dword [rax+r10*4]
        0xf3, 0x41, 0x0f, 0x11, 0x01, //    movss [r9], xmm0
        0x48, 0x8b, 0x47, 0x08, //          mov  rax, [rdi+8]
        0xf3, 0x42, 0x0f, 0x2a, 0x04, 0x90, //   cvtsi2ss xmm0, dword [rax+r10*4]
        0xf3, 0x41, 0x0f, 0x11, 0x41, 0x04, //   movss [r9+4], xmm0
        0x48, 0x8b, 0x47, 0x10, //          mov  rax, [rdi+16]
        0xf3, 0x42, 0x0f, 0x2a, 0x04, 0x90, //   cvtsi2ss xmm0, dword [rax+r10*4]
        0xf3, 0x41, 0x0f, 0x11, 0x41, 0x08, //   movss [r9+8], xmm0
        0xf3, 0x48, 0x0f, 0x2a, 0x46, 0x08, //   cvtsi2ss xmm0, qword [rsi+8]
        0xf3, 0x41, 0x0f, 0x11, 0x41, 0x0c, //   movss [r9+12], xmm0
        0x49, 0x83, 0xc1, 0x10, //          add  r9, 16
        0x48, 0xff, 0xc1, //                inc  rcx
        0xeb, 0xb3, //                      jmp  2b
        0x31, 0xc0, //                   3: xor  eax, eax
        0xc3, //                            ret
    ],
);

/// The kernels of every program here, in this order.
pub const KERNELS: [Assembled; 6] = [FILL, TOTAL, COUNT, WHERE, OUTSIDE, MODEL];

/// All kernels, one after the other.
pub fn image() -> Image {
    let mut code = vec![];
    let entry = |(_, bytes): Assembled| {
        let entry = code.len() as u64;
        code.extend_from_slice(bytes);
        entry
    };
    let entries = KERNELS.into_iter().map(entry).collect();
    Image {
        level: Level::V3,
        code,
        entries,
    }
}

/// The names of all kernels.
pub fn names() -> Vec<String> {
    KERNELS.iter().map(|(name, _)| name.to_string()).collect()
}

/// A launch of a kernel.
pub fn launch(kernel: Assembled, args: &[Address]) -> Launch {
    let index = KERNELS.iter().position(|(name, _)| *name == kernel.0);
    Launch {
        kernel: index.expect("one of the kernels"),
        args: args.to_vec(),
    }
}

/// A buffer.
pub fn buffer(name: &str, bytes: u64) -> Buffer {
    Buffer {
        name: name.into(),
        bytes,
    }
}

/// The kernels, made executable.
pub fn code() -> Code {
    // SAFETY: the kernels above are just that, and any x86-64 CPU runs them.
    unsafe { Code::from_image(&image()) }.expect("code")
}

/// A machine for a program over these kernels.
pub fn machine(program: Program, weights: &[u8], threads: usize) -> Machine {
    let weights = Weights::copied(weights).expect("weights");
    Machine::new(program, code(), weights, threads).expect("a machine")
}

/// The first 64-bit cells of a buffer.
pub fn cells(bytes: &[u8], count: usize) -> Vec<u64> {
    let (cells, _) = bytes.as_chunks();
    cells[..count]
        .iter()
        .map(|x| u64::from_le_bytes(*x))
        .collect()
}
