"""Tiny kernels that tell whether an accelerator really works: each does some of what a kernel does, says a line, ends.

They are machine code written out, so that no compiler and no download stands between a user and the answer: one line
for each instruction, with its meaning. Paging, memory, exits and timer interrupts are all used: a virtual machine
monitor that only survives its first instructions, or takes a millisecond for each exit, does not finish in time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from moby.artifact import Architecture

LINE = b"moby-probe-ok\n"

_AMD64_LOAD = 0x100000
_AMD64 = """
31ed                 ; xor ebp, ebp                           ; ticks seen
fc                   ; cld
bc00001800           ; mov esp, 0x180000
bf00001100           ; mov edi, 0x110000                      ; page tables: 1 GiB mapped to itself, 2 MiB pages
31c0                 ; xor eax, eax
b9000c0000           ; mov ecx, 0xc00
f3ab                 ; rep stos dword es:[edi], eax
c7050000110003101100 ; mov dword 0x110000, 0x111003           ; PML4 -> PDPT
c7050010110003201100 ; mov dword 0x111000, 0x112003           ; PDPT -> PD
bf00201100           ; mov edi, 0x112000
b883000000           ; mov eax, 0x83                          ; present, writable, large
8907                 ; mov dword [edi], eax
0500002000           ; add eax, 0x200000
83c708               ; add edi, 0x8
81ff00301100         ; cmp edi, 0x113000
72ee                 ; jb 0x100034                            ; next page
b800001100           ; mov eax, 0x110000                      ; long mode
0f22d8               ; mov cr3, eax
0f20e0               ; mov eax, cr4
0c20                 ; or al, 0x20                            ; PAE
0f22e0               ; mov cr4, eax
b9800000c0           ; mov ecx, 0xc0000080                    ; EFER
0f32                 ; rdmsr
80cc01               ; or ah, 0x1                             ; LME
0f30                 ; wrmsr
0f20c0               ; mov eax, cr0
0d00000080           ; or eax, 0x80000000                     ; PG
0f22c0               ; mov cr0, eax
0f01152b011000       ; lgdtd 0x10012b
ea7b0010000800       ; jmp 0x8:0x10007b
b810000000           ; mov eax, 0x10                          ; 64-bit from here
8ed0                 ; mov ss, eax
bf00321100           ; mov edi, 0x113200                      ; the gate of vector 0x20
c70717010800         ; mov dword [rdi], 0x80117
c74704008e1000       ; mov dword [rdi+0x4], 0x108e00
48c7470800000000     ; mov qword [rdi+0x8], 0x0
0f011c2521011000     ; lidt 0x100121
bf00004000           ; mov edi, 0x400000                      ; a million reads and writes over 8 MiB
b900001000           ; mov ecx, 0x100000
488b07               ; mov rax, qword [rdi]
48ffc0               ; inc rax
488907               ; mov qword [rdi], rax
4883c708             ; add rdi, 0x8
ffc9                 ; dec ecx
75ef                 ; jne 0x1000ae
bed0070000           ; mov esi, 0x7d0                         ; 2000 exits
31c0                 ; xor eax, eax
0fa2                 ; cpuid
ffce                 ; dec esi
75f8                 ; jne 0x1000c4
b011                 ; mov al, 0x11                           ; interrupt controller: vectors from 0x20, timer only
e620                 ; out 0x20, al
b020                 ; mov al, 0x20
e621                 ; out 0x21, al
b004                 ; mov al, 0x4
e621                 ; out 0x21, al
b001                 ; mov al, 0x1
e621                 ; out 0x21, al
b0fe                 ; mov al, 0xfe
e621                 ; out 0x21, al
b034                 ; mov al, 0x34                           ; timer at 1000 Hz
e643                 ; out 0x43, al
b0a9                 ; mov al, 0xa9
e640                 ; out 0x40, al
b004                 ; mov al, 0x4
e640                 ; out 0x40, al
fb                   ; sti
f4                   ; hlt                                    ; wait for 20 ticks
83fd14               ; cmp ebp, 0x14
72fa                 ; jb 0x1000ed
fa                   ; cli
488d354e000000       ; lea rsi, [rip+0x4e]                    ; the line, to COM1
baf8030000           ; mov edx, 0x3f8
ac                   ; lods al, byte ds:[rsi]
84c0                 ; test al, al
7403                 ; je 0x100108
ee                   ; out dx, al
ebf8                 ; jmp 0x100100
ba04060000           ; mov edx, 0x604                         ; PM1a control: S5 (soft off)
b800200000           ; mov eax, 0x2000
66ef                 ; out dx, ax
f4                   ; hlt                                    ; not reached
ebfd                 ; jmp 0x100114
ffc5                 ; inc ebp                                ; the timer tick
50                   ; push rax
b020                 ; mov al, 0x20
e620                 ; out 0x20, al
58                   ; pop rax
48cf                 ; iretq
0f020030110000000000 ; limit and base of the interrupt table, at 0x113000
170031011000         ; limit and base of the segment table
0000000000000000     ; segments: none,
ffff0000009baf00     ; 64-bit code,
ffff00000093cf00     ; data
"""

# At the place of its own load offset, entered with the MMU off (Linux's arm64 boot document).
_ARM64 = """
0140a8d2  ; mov x1, #0x42000000               ; a million reads and writes over 8 MiB
0202a0d2  ; mov x2, #0x100000
230040f9  ; ldr x3, [x1]
63040091  ; add x3, x3, #0x1
230000f9  ; str x3, [x1]
21200091  ; add x1, x1, #0x8
420400f1  ; subs x2, x2, #0x1
61ffff54  ; b.ne 48
02fa80d2  ; mov x2, #0x7d0                    ; 2000 exits: a trapped register
030438d5  ; mrs x3, id_aa64pfr0_el1
420400f1  ; subs x2, x2, #0x1
c1ffff54  ; b.ne 64
04e03bd5  ; mrs x4, cntfrq_el0                ; wait for 20 ms of the counter
450680d2  ; mov x5, #0x32
8408c59a  ; udiv x4, x4, x5
45e03bd5  ; mrs x5, cntvct_el0
46e03bd5  ; mrs x6, cntvct_el0
c60005cb  ; sub x6, x6, x5
df0004eb  ; cmp x6, x4
a3ffff54  ; b.cc 80
81010010  ; adr x1, c0                        ; the line, to the PL011
0220a1d2  ; mov x2, #0x9000000
23004039  ; ldrb w3, [x1]
83000034  ; cbz w3, ac
43000039  ; strb w3, [x2]
21040091  ; add x1, x1, #0x1
fcffff17  ; b 98
0080b052  ; mov w0, #0x84000000               ; PSCI SYSTEM_OFF
00018072  ; movk w0, #0x8
020000d4  ; hvc #0x0
7f2003d5  ; wfi                               ; not reached
ffffff17  ; b b8
"""


def _code(listing: str) -> bytes:
    """The bytes of a listing: on each line hexadecimal code, a semicolon and what it does."""
    return b"".join(bytes.fromhex(line.partition(";")[0]) for line in listing.splitlines())


def pvh_elf(code: bytes) -> bytes:
    """``code`` as an ELF file with a PVH note (Xen's direct boot ABI, type 18).

    It is loaded at 1 MiB and entered there in 32-bit protected mode with paging off.
    """
    headers = 64 + 2 * 56
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen", _AMD64_LOAD)
    start = headers + len(note)
    elf = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _AMD64_LOAD, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 7, start, _AMD64_LOAD, _AMD64_LOAD, len(code), len(code), 1)
    elf += struct.pack("<IIQQQQQQ", 4, 4, headers, 0, 0, len(note), len(note), 4)
    return elf + note + code


def _amd64() -> bytes:
    return pvh_elf(_code(_AMD64) + LINE + b"\0")


def _arm64() -> bytes:
    """A flat Image: 64 bytes of header whose first instruction jumps over it."""
    header = struct.pack("<IIQQQ24s4sI", 0x14000010, 0xD503201F, 0x80000, 0x1000, 0, b"", b"ARM\x64", 0)
    return header + _code(_ARM64) + LINE + b"\0"


PROBES: Mapping[Architecture, Callable[[], bytes]] = {Architecture.AMD64: _amd64, Architecture.ARM64: _arm64}
