//! Partition types: a root file system for each architecture, its hashes and their signature. UAPI.2, the Discoverable
//! Partitions Specification.

use super::Guid;
use tree::Arch;

/// The types of an architecture's root, root-verity and root-verity-sig partitions.
pub(crate) fn root_types(arch: Arch) -> [Guid; 3] {
    let numbers: [u128; 3] = match arch {
        Arch::X86_64 => [
            0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709,
            0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5,
            0x41092b05_9fc8_4523_994f_2def0408b176,
        ],
        Arch::Arm64 => [
            0xb921b045_1df0_41c3_af44_4c6f280d3fae,
            0xdf3300ce_d69f_4c92_978c_9bfb0f38d820,
            0x6db69de6_29f4_4758_a7a5_962190f00ce3,
        ],
        Arch::X86 => [
            0x44479540_f297_41b2_9af7_d131d5f0458a,
            0xd13c5d3b_b5d1_422a_b29f_9454fdc89d76,
            0x5996fc05_109c_48de_808b_23fa0830b676,
        ],
        Arch::Arm => [
            0x69dad710_2ce4_4e3c_b16c_21a1d49abed3,
            0x7386cdf2_203c_47a9_a498_f2ecce45a2d6,
            0x42b0455f_eb11_491d_98d3_56145ba9d037,
        ],
        Arch::Riscv64 => [
            0x72ec70a6_cf74_40e6_bd49_4bda08e8f224,
            0xb6ed5582_440b_4209_b8da_5ff7c419ea3d,
            0xefe0f087_ea8d_4469_821a_4c2a96a8386a,
        ],
        Arch::Ppc64Le => [
            0xc31c45e6_3f39_412e_80fb_4809c4980599,
            0x906bd944_4589_4aae_a4e4_dd983917446a,
            0xd4a236e7_e873_4c07_bf1d_bf6cf7f1c3c6,
        ],
        Arch::S390x => [
            0x5eead9a9_fe09_4a1e_a1d7_520d00531306,
            0xb325bfbe_c7be_4ab8_8357_139e652d2f6b,
            0xc80187a5_73a3_491a_901a_017c3fa953e9,
        ],
        Arch::LoongArch64 => [
            0x77055800_792c_4f94_b39a_98c91b762bb6,
            0xf3393b22_e9af_4613_a948_9d3bfbd0c535,
            0x5afb67eb_ecc8_4f85_ae8e_ac1e7c50e7d0,
        ],
    };
    numbers.map(u128::to_be_bytes)
}
