//! First blocks of programs that UPX 4.2.4 packed, with the l_info and p_info before them: `int main(void)` and a big constant.

use elf::{Elf, Packed};
use tree::Content;

const DYNAMIC_2B: &str = "\
    b4fd70eb55505821f00a0e1600000000784e0300440e030018030000e000000002000000f6fb21ff7f454c460201010003003e000d5010\
    0fb7640f764017b846032313380016b0eebb0d051f001e00060f04270725bb9047d8020867f2c8829d371856071c000a3b201701040000\
    ecb217f6180607001037050f2fe491050789010010210b36646f201707bf8125e4440e033782d03d07e1c8661707480f5002820d76616f\
    0237e027101272ca0701004f91051bec0403388607604736b2be375827c8853cb207440004c10ec83e53e574646f5037423eb2d96c2d28\
    072c00000a6c77586f513706000010821dc2de526f878690b08f30020007fe0000000000000900ff\
";
const DYNAMIC_2D: &str = "\
    2d0d1be555505821f80a0e1600000000784e0300440e030018030000dc00000005000000edfb21ff7f454c460201010003003e001a5010\
    1ff64b7bd8402fb84603472738000d0a8f1658fb1f001e00061e044f0fd802ec96762108cf6f18ade4421e2d0f1c00018bbd6207040001\
    18060f470becda00106f051f0f89b0a1bd90010010df202fb0843cb40f440e036f38daf66004d03d2f0f480dbbd8611f5002df026fe048\
    c8a9854f0f01000bc1b0639f0407380d0f8e360a467d6f582ee4d1c24f0f440004ec80f64153e57464df506f211f6d3b6c2d510f2c0000\
    2bd8762cdf516e06000144117614bd52df0f6114897d3002000ffd2549922400000040ff\
";
const DYNAMIC_2E: &str = "\
    7219b1a755505821180b0e1600000000784e0300440e030018030000d800000008000000b6fb20ff7f454c460201010003003e001b5010\
    1fef36f66d402fb84603472638000d0a1f39b4b5f7001e00061e044f0fd8026db3b10908cf6f18ad974cc8a10f1c000104edc44eb10001\
    18060f00106f2187b636051f0f89018b6d173b0010df202f0f06810de4440e036f05bd6168d9d03d2f0f481f5002a36db789df026fe04f\
    0fb76118c801009f040738a120b4050d0f7d39b46d686f584f0f440080f693090453e57464df3cb4ec6d506f6c2d510f2c000060dfb081\
    df516e06000114db50a4bd52df0f4231d8433002000ffd9224491200000054ff\
";
const STATIC_2B: &str = "\
    b4fd70eb55505821f40a0e160000000028b20e00f17b070070020000cf00000002000000ee7e90ff7f454c46020101030002003e000107\
    f01440867c9bc50f0500a8aa0e0060c7eede1338000a051e001d2b0400004ec8137640071805000010d902f6cd0637050f07408125e409\
    f17b07371376b0b16f9017904707e6bb034bc87c05370603d816ec846cb10d0f074d985b27ec6017f6c8b3a7040370020f843c21db0740\
    20000007392cc8083790900264429eb04007440000047684051b070ba7182720fb900d606f53e57464a76105b63b5137060000ae1f61c1\
    0e526fa7283900000836610701370000000000000024ff\
";
const STATIC_2D: &str = "\
    2d0d1be555505821f80a0e160000000028b20e00f17b070070020000cb00000005000000dd7e90ff7f454c46020101030002003e00010e\
    f014406fc8df961f0b01a8aa0e00273876b0b3db000a0a1e001d57040001400fb79d902718050000100d6e3c212fb0051f0f40f17b07d8\
    6cb0846fdf902f9690277690470fe67c056f9097dd0e0606d8160d1f0f4d7611bc9d985b4fc8b34f04079e90b71d70021f0f4020000039\
    166442086f90843cb1079002400f440000441036c80407174fe0431b76184f60df53e57464156c3ba04f516e06000122083b8a5d52df4f\
    42d8c43e2839000f016f4a92244900000080ff\
";
const STATIC_2E: &str = "\
    7219b1a755505821140b0e160000000028b20e00f17b070070020000c700000008000000f7fb93ff7f454c46020101030002003e00010e\
    f014401fdf2fecdb402fa8aa0e452638000a0a1e001f6c60bf1d57040001400f180500b52e7b2000100d6f051f06f281b40e40f17b07c1\
    debec06fdf902f90470fdfc006f2e67c056f0606d816670fa4bd0d1f0e4d985b4fc8b396bd4d044f040770021f0ee4403e904020000008\
    07fb64d86f909002400f44b09d1cc800000407175fec36444f184f60df53e574b06f8082644f516e060001826d28525d52df4fb01dec21\
    2839000f016f92244992000000a0ff\
";
const LZMA: &str = "\
    21ca6a7a555058211c140e1600000000784e0300440e030018030000aa0000000e0000001a03003f914584683d89a6da8ae183324ed905\
    612d5fd867317eb14fb3f50e00328cf7673359e85d9e04f5a4457cd56f10328160d11fbe2a5cabca5d7ac351bb39f84db64c9c4cba43be\
    0715fb4d909b526c32997b38f25fb440a0bcaf9985d189fb9d84e1e4c472e747d823466581cfc06ee7108b8c27b79a830dde71b8e31e3c\
    60365b7b3d0c69e93e5172a637cbe5fdb81cb0d428b118b2d6563b176c90d2b067b3faadecd52560d1\
";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// A static x86-64 program without anything in it, and what stands behind its program header.
fn program(behind: &[u8]) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (value, size) in [
        (2u64, 2),
        (62, 2),
        (1, 4),
        (0x400000, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (1, 2),
        (64, 2),
        (0, 4),
    ] {
        file.extend(&value.to_le_bytes()[..size]);
    }
    for (value, size) in
        [(1u64, 4), (5, 4), (0, 8), (0x400000, 8), (0x400000, 8), (120, 8), (120, 8), (4096, 8)]
    {
        file.extend(&value.to_le_bytes()[..size]);
    }
    file.extend(behind);
    file
}

fn packed(file: Vec<u8>) -> Option<Packed> {
    Elf::parse(&Content::from(file)).unwrap().unwrap().packed
}

#[test]
fn upx() {
    let cases = [
        (DYNAMIC_2B, Some(true)),
        (DYNAMIC_2D, Some(true)),
        (DYNAMIC_2E, Some(true)),
        (STATIC_2B, Some(false)),
        (STATIC_2D, Some(false)),
        (STATIC_2E, Some(false)),
        (LZMA, None),
    ];
    for (n, (block, dynamic)) in cases.into_iter().enumerate() {
        assert_eq!(packed(program(&bytes(block))), Some(Packed::Upx { dynamic }), "case {n}");
    }
    assert_eq!(packed(program(b"")), None);
    assert_eq!(packed(program(&[b'x'; 300])), None);
}

#[test]
fn app_image() {
    let mut file = program(b"");
    file[8..11].copy_from_slice(b"AI\x02");
    assert_eq!(packed(file), Some(Packed::AppImage));
}

/// Cut off or damaged: nothing can be known, and nothing happens.
#[test]
fn damaged() {
    for block in [DYNAMIC_2B, DYNAMIC_2D, STATIC_2E] {
        let good = bytes(block);
        for len in 8..good.len() {
            packed(program(&good[..len]));
        }
        for at in 12..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                packed(program(&bad));
            }
        }
    }
}
