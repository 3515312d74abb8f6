//! Names that cannot be in one folder on every file system.

use crate::{
    base::error::{Error, Result},
    release::bundle::NameTree,
};

/// Fails for two names that differ only in case.
pub(crate) fn check<'a>(names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut tree = NameTree::default();
    for name in names {
        tree.add_file(name).map_err(|why| {
            Error::input(format!("cannot release the file `{}`: {why}", name.escape_debug())).hint(
                "rename one of the two in git, or remove it: \
                 macOS and Windows cannot have both in one folder",
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_twins_are_refused_with_a_hint() {
        let check = |names: [&str; 2]| check(names.map(str::to_owned).iter());
        for names in [["infra/Main.tf", "infra/main.tf"], ["lib/A/x.tf", "lib/a/y.tf"]] {
            let refused = format!("{:?}", check(names).unwrap_err());
            assert!(refused.contains(names[1]) && refused.contains("rename one"), "{refused}");
        }
        check(["infra/main.tf", "lib/Main.tf"]).unwrap();
    }
}
