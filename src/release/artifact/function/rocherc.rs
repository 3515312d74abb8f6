//! `.rocherc`, the settings of roche: lines of NAME=value.

use std::{collections::BTreeMap, io, path::Path};

use crate::base::{
    error::{Error, Result},
    small_file,
};

const FILE: &str = ".rocherc";

/// Reads `src/.rocherc` and `.rocherc`; the first overrides the second. Returns name to value and
/// file.
pub(crate) fn read(component: &Path) -> Result<BTreeMap<String, (String, String)>> {
    let mut values = BTreeMap::new();
    for name in [FILE.to_owned(), format!("src/{FILE}")] {
        let path = component.join(&name);
        let text = match small_file::text(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(|error| Error::io("cannot read", &path, &error))?,
        };
        for (key, value) in parse(&name, &text)? {
            values.insert(key, (value, name.clone()));
        }
    }
    Ok(values)
}

fn parse(file: &str, text: &str) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let pair = line
            .split_once('=')
            .and_then(|(name, value)| Some((name.trim(), unquoted(value.trim())?)));
        let Some((name, value)) = pair.filter(|(name, _)| is_name(name)) else {
            return Err(Error::input(format!("{file}:{}: expected NAME=value", at + 1))
                .hint("write lines such as `release_build_image=quay.io/roche/default:1.4.0`"));
        };
        // The first value counts, as in roche.
        values.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    Ok(values)
}

/// Removes the quotes, and a comment after the value. Returns None for unbalanced quotes.
fn unquoted(value: &str) -> Option<&str> {
    let Some(quote) = value.chars().next().filter(|c| ['"', '\''].contains(c)) else {
        return Some(value.split_once(" #").map_or(value, |(value, _)| value).trim_end());
    };
    let (content, after) = value[1..].split_once(quote)?;
    let after = after.trim_start();
    (after.is_empty() || after.starts_with('#')).then_some(content)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines() {
        let text = "# images\n\nrelease_build_image = a:1 # ours\n\
                    export runtime_image=\"b:1\"\nx='c # d' # e\nx=later\n";
        let values = parse(".rocherc", text).unwrap();
        assert_eq!(values["release_build_image"], "a:1");
        assert_eq!(values["runtime_image"], "b:1");
        assert_eq!(values["x"], "c # d");
        for bad in ["release_build_image", "a: b", "=x", "a b=c", "a=\"b", "a='b' c"] {
            let refused = parse("src/.rocherc", &format!("\n{bad}")).unwrap_err().to_string();
            assert!(refused.starts_with("src/.rocherc:2: "), "{refused}");
        }
    }

    #[test]
    fn the_one_in_src_wins() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        assert!(read(folder.path()).unwrap().is_empty());
        fs::write(folder.path().join(FILE), "a=1\nb=1\n").unwrap();
        fs::write(folder.path().join("src").join(FILE), "b=2\n").unwrap();
        let values = read(folder.path()).unwrap();
        assert_eq!(values["a"], ("1".to_owned(), ".rocherc".to_owned()));
        assert_eq!(values["b"], ("2".to_owned(), "src/.rocherc".to_owned()));
    }
}
