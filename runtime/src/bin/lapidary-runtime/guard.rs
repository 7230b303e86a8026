//! The first instructions of a compiled file.
//!
//! Where a file was cut off within the runtime itself, the rest of it could not even be loaded: the process would be
//! killed at the first page that is missing. So the entry point (set by the build script of `lapidary`, which links the
//! runtime statically) is not libc's `_start` but this. It stands near the beginning of the file, needs nothing else of
//! it, compares the file's size with where its ELF header says that the executable ends, and goes on to `_start`.

use std::arch::global_asm;

global_asm!(
    r#"
    .section .text.unlikely.lapidary_start, "ax", @progbits
    .globl lapidary_start
    .type lapidary_start, @function
lapidary_start:
    mov r8, rdx                     # _start takes rdx and the stack as they are now
    mov eax, 2                      # open
    lea rdi, [rip + .Llapidary_exe]
    xor esi, esi                    # O_RDONLY
    syscall
    test eax, eax
    js .Llapidary_go_on
    mov ebx, eax
    mov edi, eax
    mov eax, 8                      # lseek
    xor esi, esi
    mov edx, 2                      # SEEK_END
    syscall
    mov r9, rax
    mov eax, 3                      # close
    mov edi, ebx
    syscall
    lea rcx, [rip + __ehdr_start]
    movzx eax, word ptr [rcx + 0x3A]
    movzx edx, word ptr [rcx + 0x3C]
    imul eax, edx
    add rax, qword ptr [rcx + 0x28] # the end of the table of sections, the last part of an executable
    cmp r9, rax
    jge .Llapidary_go_on
    mov eax, 1                      # write
    mov edi, 2
    lea rsi, [rip + .Llapidary_line]
    lea rdx, [rip + .Llapidary_end]
    sub rdx, rsi
    syscall
    mov eax, 231                    # exit_group
    mov edi, 2
    syscall
.Llapidary_go_on:
    mov rdx, r8
    jmp _start
.Llapidary_exe:
    .asciz "/proc/self/exe"
.Llapidary_line:
    .ascii "error: this file is not whole: its end was cut off after it was compiled\n"
.Llapidary_end:
    .size lapidary_start, . - lapidary_start
    .text
    "#
);
