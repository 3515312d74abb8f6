//! Bech32 (BIP 173): the text of age's keys. Both cases are valid, but not a mix of them.

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
/// Characters of the checksum, five bits each.
const CHECKSUM: usize = 6;

/// Returns the text in lowercase. `prefix` must be in lowercase.
pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let mut values = regroup(bytes, 8, 5, true).unwrap_or_default();
    let mut checked = expanded(prefix);
    checked.extend(&values);
    checked.extend([0; CHECKSUM]);
    let sum = polymod(&checked) ^ 1;
    for at in (0..CHECKSUM).rev() {
        values.push(low_bits(sum >> (5 * at), 5));
    }
    let letters = values.iter().map(|value| char::from(ALPHABET[usize::from(*value)]));
    format!("{prefix}1{}", letters.collect::<String>())
}

/// Returns the bytes after `prefix`, which is in lowercase. None: the text is not valid.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let lower = text.to_ascii_lowercase();
    if text != lower && text != text.to_ascii_uppercase() {
        return None;
    }
    let data = lower.strip_prefix(prefix)?.strip_prefix('1')?;
    let value = |letter: u8| {
        ALPHABET.iter().position(|known| *known == letter).and_then(|at| u8::try_from(at).ok())
    };
    let values: Vec<u8> = data.bytes().map(value).collect::<Option<_>>()?;
    let mut checked = expanded(prefix);
    checked.extend(&values);
    let content = values.len().checked_sub(CHECKSUM)?;
    (polymod(&checked) == 1).then_some(())?;
    regroup(&values[..content], 5, 8, false)
}

fn expanded(prefix: &str) -> Vec<u8> {
    let high = prefix.bytes().map(|byte| byte >> 5);
    high.chain([0]).chain(prefix.bytes().map(|byte| byte & 31)).collect()
}

fn polymod(values: &[u8]) -> u32 {
    values.iter().fold(1, |sum: u32, value| {
        let top = sum >> 25;
        let next = ((sum & 0x1ff_ffff) << 5) ^ u32::from(*value);
        let used = GENERATOR.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1);
        used.fold(next, |next, (_, generator)| next ^ generator)
    })
}

/// Regroups bits. With `pads`, the last group is filled with zeros; otherwise what is left over
/// must be less than a group, and zero.
fn regroup(from: &[u8], width: u32, to: u32, pads: bool) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for value in from {
        bits = bits << width | u32::from(*value);
        count += width;
        while count >= to {
            count -= to;
            out.push(low_bits(bits >> count, to));
        }
        bits &= (1 << count) - 1;
    }
    if pads && count > 0 {
        out.push(low_bits(bits << (to - count), to));
    }
    (pads || (count < width && bits == 0)).then_some(out)
}

fn low_bits(value: u32, width: u32) -> u8 {
    u8::try_from(value & ((1 << width) - 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_texts_of_the_standard() {
        // BIP 173, "Test vectors".
        assert_eq!(decode("a", "A12UEL5L").unwrap(), [0; 0]);
        let all = decode("abcdef", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw").unwrap();
        let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "00443214c74254b635cf84653a56d7c675be77df");
        let split = "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w";
        assert_eq!(encode("split", &decode("split", split).unwrap()), split);
        for text in [
            "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3x",
            "Split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
            "splat1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
            "split12y9e3",
            "split1b2y9e3w",
            "split",
            "",
        ] {
            assert_eq!(decode("split", text), None, "{text}");
        }
    }
}
