//! Many addresses in few words: the instances of a resource share one, such as
//! `aws_sqs_queue.old[0…23]`.

/// An address, or several of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collapsed {
    /// As Terraform writes it; with several keys such as `a.b[0…23, 30]` or `a.b["x", "y"]`.
    pub(super) address: String,
    pub(super) count: usize,
}

/// Returns the addresses with the instances of each resource together, in the order in which the
/// resources first appear. No address is left out.
pub(super) fn collapse(labels: &[String]) -> Vec<Collapsed> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for label in labels {
        let (base, key) = split(label);
        // Without a key it is not an instance of the same resource.
        let at = *known.entry((base, key.is_empty())).or_insert_with(|| {
            groups.push((base, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, keys)) = groups.get_mut(at) {
            keys.push(key);
        }
    }
    let collapsed = groups.into_iter().map(|(base, keys)| Collapsed {
        address: match keys.first() {
            Some(&"") | None => base.to_owned(),
            Some(_) => format!("{base}[{}]", ranges(&keys)),
        },
        count: keys.len(),
    });
    collapsed.collect()
}

/// Splits an address into the part before its last instance key, and that key without brackets.
pub(super) fn split(address: &str) -> (&str, &str) {
    let Some(inner) = address.strip_suffix(']') else { return (address, "") };
    let at = if inner.ends_with('"') {
        inner.find("[\"").filter(|_| inner.matches("[\"").count() == 1)
    } else {
        inner.rfind('[')
    };
    match at.map(|at| (&inner[..at], &inner[at + 1..])) {
        Some((_, "")) | None => (address, ""),
        Some(parts) => parts,
    }
}

/// Formats instance keys. Consecutive numbers become a range, such as `0…4999`.
fn ranges(keys: &[&str]) -> String {
    let number = |key: &&str| key.parse::<u64>().ok().filter(|number| number.to_string() == **key);
    let Some(mut numbers) = keys.iter().map(number).collect::<Option<Vec<_>>>() else {
        return keys.join(", ");
    };
    numbers.sort_unstable();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let shown = runs.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}…{last}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the addresses of an address with several numbers, such as `a.b[0…2, 7]`.
    pub(in crate::report) fn expand(address: &str) -> Vec<String> {
        let (base, keys) = split(address);
        let mut found = Vec::new();
        for part in keys.split(", ") {
            let ends = part.split_once('…').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (ends.0.parse::<u64>(), ends.1.parse::<u64>()) else {
                return vec![address.to_owned()];
            };
            found.extend((first..=last).map(|number| format!("{base}[{number}]")));
        }
        found
    }

    #[test]
    fn a_range_has_every_address() {
        let mut labels: Vec<String> = [0, 1, 2, 5, 9, 10, 11].map(|n| format!("a.b[{n}]")).to_vec();
        labels.push("module.m[1].a.c".to_owned());
        let collapsed = collapse(&labels);
        let expanded: Vec<String> = collapsed.iter().flat_map(|it| expand(&it.address)).collect();
        assert_eq!(expanded, labels);
    }

    fn shown(labels: &[&str]) -> Vec<String> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let collapsed = collapse(&labels);
        assert_eq!(collapsed.iter().map(|it| it.count).sum::<usize>(), labels.len());
        collapsed.into_iter().map(|it| it.address).collect()
    }

    #[test]
    fn instances_share_an_address() {
        assert_eq!(
            shown(&["a.q[2]", "a.other", "a.q[0]", "a.q[1]", "a.q[7]", "a.q[8]"]),
            ["a.q[0…2, 7, 8]", "a.other"]
        );
        assert_eq!(shown(&["a.q[\"x\"]", "a.q[\"y\"]"]), ["a.q[\"x\", \"y\"]"]);
        assert_eq!(
            shown(&["module.m[0].a.q[1]", "module.m[1].a.q[1]"]),
            ["module.m[0].a.q[1]", "module.m[1].a.q[1]"]
        );
    }

    #[test]
    fn an_odd_address_stays_as_it_is() {
        for odd in [
            "a.q[]",
            "a.q[\"[\"]",
            "a.q[\"x [\"y\"]",
            "a.q[01]",
            "",
            "]",
            "a.q[0] (deposed object 1)",
        ] {
            assert_eq!(shown(&[odd]), [odd]);
        }
        assert_eq!(shown(&["a.q", "a.q[0]"]), ["a.q", "a.q[0]"]);
    }
}
