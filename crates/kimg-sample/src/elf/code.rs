//! The machine code: a handful of instructions for each processor, as numbers, each with what it does.
//!
//! All of it is position-independent and uses no stack, so nothing has to be relocated or set up.
//! Encodings are from the processors' manuals (Intel SDM volume 2; Arm ARM for A64 and for A32);
//! system call numbers from Linux' `unistd.h` of each architecture.

use kimg_core::Platform;

/// `AT_ENTRY` of the auxiliary vector: the program's entry point (getauxval(3)).
const AT_ENTRY: u8 = 9;

/// Code that writes a text to standard output and exits with a status.
pub(super) fn print(platform: Platform, text: &str, status: u8) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("no text of a program is 4 GiB long");
    let mut code = match platform {
        Platform::Amd64 => print_x86_64(length, status),
        Platform::Arm64 => print_a64(length, status),
        Platform::ArmV7 | Platform::ArmV6 => print_a32(length, status),
    };
    code.extend_from_slice(text.as_bytes());
    code
}

/// Code that jumps to the program's entry, or prints a text and exits with 127 when there is no other program.
pub(super) fn jump_to_entry(platform: Platform, text: &str) -> Vec<u8> {
    let mut code = match platform {
        Platform::Amd64 => jump_x86_64(),
        Platform::Arm64 => jump_a64(),
        Platform::ArmV7 | Platform::ArmV6 => jump_a32(),
    };
    code.extend(print(platform, text, 127));
    code
}

/// Joins instructions of any length.
fn bytes(instructions: &[&[u8]]) -> Vec<u8> {
    instructions.concat()
}

/// Joins instructions of four bytes, least significant byte first.
fn words(instructions: &[u32]) -> Vec<u8> {
    instructions.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// 36 bytes; the text follows them.
#[rustfmt::skip]
fn print_x86_64(length: u32, status: u8) -> Vec<u8> {
    bytes(&[
        &[0xbf, 1, 0, 0, 0],                 //  0: mov edi, 1             standard output
        &[0x48, 0x8d, 0x35, 24, 0, 0, 0],    //  5: lea rsi, [rip + 24]    the text at 36
        &[0xba], &length.to_le_bytes(),      // 12: mov edx, length
        &[0xb8, 1, 0, 0, 0],                 // 17: mov eax, 1             write
        &[0x0f, 0x05],                       // 22: syscall
        &[0xbf, status, 0, 0, 0],            // 24: mov edi, status
        &[0xb8, 231, 0, 0, 0],               // 29: mov eax, 231           exit_group
        &[0x0f, 0x05],                       // 34: syscall
    ])
}

/// 36 bytes, the last four of them the length; the text follows them.
#[rustfmt::skip]
fn print_a64(length: u32, status: u8) -> Vec<u8> {
    words(&[
        0xd280_0020,                            //  0: mov x0, #1           standard output
        0x1000_0101,                            //  4: adr x1, . + 32       the text at 36
        0x1800_00c2,                            //  8: ldr w2, . + 24       the length at 32
        0xd280_0808,                            // 12: mov x8, #64          write
        0xd400_0001,                            // 16: svc #0
        0xd280_0000 | u32::from(status) << 5,   // 20: mov x0, #status
        0xd280_0bc8,                            // 24: mov x8, #94          exit_group
        0xd400_0001,                            // 28: svc #0
        length,                                 // 32
    ])
}

/// 36 bytes, the last four of them the length; the text follows them. In A32, `pc` reads as two instructions ahead.
/// Nothing here needs more than the processors of `linux/arm/v6` have.
#[rustfmt::skip]
fn print_a32(length: u32, status: u8) -> Vec<u8> {
    words(&[
        0xe3a0_0001,                       //  0: mov r0, #1           standard output
        0xe28f_1018,                       //  4: add r1, pc, #24      the text at 36
        0xe59f_2010,                       //  8: ldr r2, [pc, #16]    the length at 32
        0xe3a0_7004,                       // 12: mov r7, #4           write
        0xef00_0000,                       // 16: svc #0
        0xe3a0_0000 | u32::from(status),   // 20: mov r0, #status
        0xe3a0_70f8,                       // 24: mov r7, #248         exit_group
        0xef00_0000,                       // 28: svc #0
        length,                            // 32
    ])
}

/// 0x30 bytes; the code for "no other program" follows them.
///
/// At its start the stack holds argc, the arguments, NULL, the environment, NULL, and then the auxiliary vector:
/// pairs of a type and a value, the last of type 0. The stack pointer stays where it is: the program starts with it.
#[rustfmt::skip]
fn jump_x86_64() -> Vec<u8> {
    bytes(&[
        &[0x48, 0x8b, 0x04, 0x24],                      // 00: mov rax, [rsp]               argc
        &[0x48, 0x8d, 0x74, 0xc4, 0x10],                // 04: lea rsi, [rsp + rax*8 + 16]  the environment
        &[0x48, 0xad],                                  // 09: lodsq                        its next word
        &[0x48, 0x85, 0xc0],                            // 0b: test rax, rax
        &[0x75, 0xf9],                                  // 0e: jnz 09                       until NULL
        &[0x48, 0xad],                                  // 10: lodsq                        type
        &[0x48, 0x89, 0xc1],                            // 12: mov rcx, rax
        &[0x48, 0xad],                                  // 15: lodsq                        value
        &[0x48, 0x85, 0xc9],                            // 17: test rcx, rcx
        &[0x74, 0x14],                                  // 1a: jz 30                        no entry at all
        &[0x48, 0x83, 0xf9, AT_ENTRY],                  // 1c: cmp rcx, AT_ENTRY
        &[0x75, 0xee],                                  // 20: jne 10
        &[0x48, 0x8d, 0x0d, 0xd7, 0xff, 0xff, 0xff],    // 22: lea rcx, [rip - 0x29]        00, the loader's own entry
        &[0x48, 0x39, 0xc8],                            // 29: cmp rax, rcx
        &[0x74, 0x02],                                  // 2c: je 30                        started by itself
        &[0xff, 0xe0],                                  // 2e: jmp rax
    ])
}

/// 0x38 bytes; the code for "no other program" follows them. See [`jump_x86_64`] for what the stack holds.
#[rustfmt::skip]
fn jump_a64() -> Vec<u8> {
    words(&[
        0x9100_03e9,                                // 00: mov x9, sp
        0xf840_852a,                                // 04: ldr x10, [x9], #8         argc
        0x8b0a_0d29,                                // 08: add x9, x9, x10, lsl #3   over the arguments
        0x9100_2129,                                // 0c: add x9, x9, #8            and their NULL
        0xf840_852a,                                // 10: ldr x10, [x9], #8         a word of the environment
        0xb5ff_ffea,                                // 14: cbnz x10, 10              until NULL
        0xa8c1_2d2a,                                // 18: ldp x10, x11, [x9], #16   type and value
        0xb400_00ea,                                // 1c: cbz x10, 38               no entry at all
        0xf100_015f | (u32::from(AT_ENTRY)) << 10,      // 20: cmp x10, #AT_ENTRY
        0x54ff_ffa1,                                // 24: b.ne 18
        0x10ff_feca,                                // 28: adr x10, 00               the loader's own entry
        0xeb0a_017f,                                // 2c: cmp x11, x10
        0x5400_0040,                                // 30: b.eq 38                   started by itself
        0xd61f_0160,                                // 34: br x11
    ])
}

/// 0x40 bytes; the code for "no other program" follows them. See [`jump_x86_64`] for what the stack holds.
#[rustfmt::skip]
fn jump_a32() -> Vec<u8> {
    words(&[
        0xe1a0_300d,                       // 00: mov r3, sp
        0xe493_2004,                       // 04: ldr r2, [r3], #4         argc
        0xe083_3102,                       // 08: add r3, r3, r2, lsl #2   over the arguments
        0xe283_3004,                       // 0c: add r3, r3, #4           and their NULL
        0xe493_2004,                       // 10: ldr r2, [r3], #4         a word of the environment
        0xe352_0000,                       // 14: cmp r2, #0
        0x1aff_fffc,                       // 18: bne 10                   until NULL
        0xe8b3_0014,                       // 1c: ldm r3!, {r2, r4}        type and value
        0xe352_0000,                       // 20: cmp r2, #0
        0x0a00_0005,                       // 24: beq 40                   no entry at all
        0xe352_0000 | u32::from(AT_ENTRY),     // 28: cmp r2, #AT_ENTRY
        0x1aff_fffa,                       // 2c: bne 1c
        0xe24f_2038,                       // 30: sub r2, pc, #0x38        00, the loader's own entry
        0xe154_0002,                       // 34: cmp r4, r2
        0x0a00_0000,                       // 38: beq 40                   started by itself
        0xe12f_ff14,                       // 3c: bx r4
    ])
}
