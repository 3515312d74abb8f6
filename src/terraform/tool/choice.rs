//! Which version is used.

use semver::{BuildMetadata, Version};

use super::Tool;
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
    },
    config::{
        flavor::Flavor,
        version_constraint::{Constraint, Wanted},
        version_pick::{End, VersionPick},
    },
    services::{ci::host::Host, tool_site::ToolSite},
};

/// What decides about the version.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) flavor: Flavor,
    /// All of them must hold. The first is the one that messages name as the source.
    pub(crate) wanted: &'a [Wanted],
    /// Which of the allowed versions is used, whatever PATH has.
    pub(crate) pick: Option<&'a VersionPick>,
    /// Keys that may sign for a mirror, from the account scheme.
    pub(crate) mirror_keys: &'a [String],
    /// The digest of the program that made the release, if it was made on this platform.
    pub(crate) pinned: Option<Sha256>,
}

impl Choice<'_> {
    /// Says what requires the version.
    pub(super) fn reason(&self) -> String {
        const SHOWN: usize = 3;
        let pick = self.pick.map(ToString::to_string);
        let wanted = self.wanted.iter().map(|it| format!("{}: {}", it.place, it.constraint));
        let all: Vec<String> = pick.into_iter().chain(wanted).collect();
        let more = match all.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        match all.is_empty() {
            true => "no version is required".to_owned(),
            false => format!("required by {}{more}", all[..all.len().min(SHOWN)].join("; ")),
        }
    }

    /// Returns the constraints that name one version in a way that many people use for a series.
    pub(super) fn series(&self) -> impl Iterator<Item = (&Wanted, Constraint)> {
        self.wanted.iter().filter_map(|wanted| Some((wanted, wanted.constraint.as_series()?)))
    }

    pub(super) fn fitting<'t>(&self, in_path: Option<&'t Tool>) -> Option<&'t Tool> {
        in_path.filter(|tool| self.pick.is_none() && self.misfit(&tool.version).is_none())
    }

    pub(super) async fn choose_at(&self, site: &ToolSite, host: &Host) -> Result<Version> {
        let exact = self.wanted.iter().find_map(|wanted| wanted.constraint.exact());
        let Some(version) = exact else {
            self.check_pick()?;
            let listing = site.versions();
            let listed = host.interrupt.or_cancel("reading the list of versions", listing).await?;
            return self.best(&listed).ok_or_else(|| self.none_of(listed, site.name()));
        };
        Ok(version)
    }

    /// Fails if the requirements contradict each other, or if cdflow supports none of the versions.
    pub(super) fn check_agreement(&self) -> Result<()> {
        let Some(version) = self.wanted.iter().find_map(|wanted| wanted.constraint.exact()) else {
            return self.check_range();
        };
        match self.misfit(&version) {
            Some(why) => Err(self.with_series(self.contradiction(&version, &why))),
            None => Ok(()),
        }
    }

    /// Fails if no version fulfils all constraints, whatever versions exist.
    fn check_range(&self) -> Result<()> {
        let edges: Option<Vec<Vec<Version>>> =
            self.wanted.iter().map(|wanted| wanted.constraint.edges()).collect();
        let Some(edges) = edges else { return Ok(()) };
        let oldest = self.flavor.oldest();
        let mut versions = edges.into_iter().flatten().chain([oldest.clone()]);
        if versions.any(|version| self.misfit(&version).is_none()) {
            return Ok(());
        }
        let asked = |it: &Wanted| format!("{} requires {}", it.place, it.constraint);
        let name = self.flavor.name();
        let error = Error::input(format!("no version of {name} can be used"));
        let is_too_old = |wanted: &&Wanted| {
            let edges = wanted.constraint.edges().unwrap_or_default();
            let mut newer = edges.iter().chain([&oldest]).filter(|version| **version >= oldest);
            !newer.any(|version| wanted.constraint.allows(version))
        };
        Err(match self.wanted.iter().find(is_too_old) {
            Some(wanted) => error
                .why(format!("{}; cdflow needs {name} {oldest} or newer", asked(wanted)))
                .hint(format!("write a version that is {oldest} or newer, such as `~> 1.11.0`")),
            None => error
                .why(self.wanted.iter().map(asked).collect::<Vec<_>>().join("; "))
                .hint("change one of them"),
        })
    }

    /// `min-required` needs something that requires a version.
    fn check_pick(&self) -> Result<()> {
        match self.pick.filter(|pick| pick.end == End::Oldest && self.wanted.is_empty()) {
            None => Ok(()),
            Some(pick) => Err(Error::input(format!("{pick} names no version"))
                .why("infra/ has no `required_version` that is a literal")
                .hint(format!("add `required_version`, or write a version in {}", pick.place))),
        }
    }

    fn with_series(&self, error: Error) -> Error {
        self.series().fold(error, |error, (Wanted { constraint, place }, series)| {
            error.hint(format!(
                "if you mean the whole series, write `{series}` instead of `{constraint}` ({place})"
            ))
        })
    }

    /// Adds how to do without the site.
    pub(super) fn with_hints(&self, error: Error, in_path: Option<&Tool>) -> Error {
        if [Exit::Interrupted, Exit::Terminated].contains(&error.exit()) {
            return error;
        }
        let error = match self.pinned {
            Some(_) => error.hint("or deploy with another version: --terraform-version"),
            None => error,
        };
        if let Some(VersionPick { text, place, .. }) = self.pick {
            let fixed = in_path.map_or(self.flavor.oldest(), |tool| tool.version.clone());
            return error.hint(format!(
                "if the list of versions cannot be read, write a version instead of `{text}` in \
                 {place}, such as `{fixed}`"
            ));
        }
        let error = self.with_series(error);
        let (title, program) = (self.flavor.title(), self.flavor.program());
        let needed = match self.wanted.iter().find_map(|wanted| wanted.constraint.exact()) {
            Some(exact) => exact.to_string(),
            None => self.fitting_words(),
        };
        match in_path {
            Some(tool) => {
                let (path, version) = (tool.program.display(), &tool.version);
                let why = self.misfit(version).map_or_else(String::new, |why| format!(": {why}"));
                error.hint(format!(
                    "or put {title} {needed} into PATH, before `{path}`, which is {version}{why}"
                ))
            }
            None => {
                error.hint(format!("or install {title} {needed}: PATH has no program `{program}`"))
            }
        }
    }

    /// Returns what a version must fulfil, such as `~> 1.9.0 and != 1.9.3`.
    fn fitting_words(&self) -> String {
        let wanted: Vec<String> = self.wanted.iter().map(|it| it.constraint.to_string()).collect();
        match wanted.is_empty() {
            true => format!("{} or newer", self.flavor.oldest()),
            false => wanted.join(" and "),
        }
    }

    /// Says why a version cannot be used.
    fn misfit(&self, version: &Version) -> Option<String> {
        if *version < self.flavor.oldest() {
            let oldest = self.flavor.oldest();
            return Some(format!("cdflow needs {} {oldest} or newer", self.flavor.name()));
        }
        let unmet = self.wanted.iter().find(|wanted| !wanted.constraint.allows(version))?;
        Some(format!("{} requires {}", unmet.place, unmet.constraint))
    }

    fn contradiction(&self, version: &Version, why: &str) -> Error {
        let exact = |wanted: &&Wanted| wanted.constraint.exact().as_ref() == Some(version);
        let place = self.wanted.iter().find(exact).map_or("", |wanted| &wanted.place);
        let hint = match *version < self.flavor.oldest() {
            true => format!("set it to {} or newer, or remove it", self.flavor.oldest()),
            false => "change one of the two".to_owned(),
        };
        Error::input(format!("{} {version} cannot be used", self.flavor.name()))
            .why(format!("{place} requires {version}; {why}"))
            .hint(hint)
    }

    /// Returns the newest version that fits, or the oldest if that is asked for. `!= 1.9.0` allows
    /// all pre-releases, so one is used only if a constraint names one.
    pub(super) fn best(&self, versions: &[Version]) -> Option<Version> {
        let may_be_pre = self.wanted.iter().any(|wanted| wanted.constraint.names_pre_release());
        let fits = |version: &&Version| {
            version.build == BuildMetadata::EMPTY
                && (may_be_pre || version.pre.is_empty())
                && self.misfit(version).is_none()
        };
        let fitting = versions.iter().filter(fits);
        match self.pick.map(|pick| pick.end) {
            Some(End::Oldest) => fitting.min().cloned(),
            _ => fitting.max().cloned(),
        }
    }

    /// Returns the error that none of the versions of a site can be used, which names them.
    pub(super) fn none_of(&self, mut versions: Vec<Version>, site: &str) -> Error {
        let name = self.flavor.name();
        versions.retain(|it| it.pre.is_empty() && it.build == BuildMetadata::EMPTY);
        versions.sort();
        let error = Error::input(format!("no version of {name} at {site} can be used"));
        if versions.is_empty() {
            return error.why("its list has only pre-releases");
        }
        error
            .why(format!("it has {}{}", existing(&versions), self.allowed(&versions)))
            .hint("change a constraint, or add a version to the mirror")
    }

    /// Says which of the versions each requirement allows, in lines.
    fn allowed(&self, versions: &[Version]) -> String {
        let lines = self.wanted.iter().map(|Wanted { constraint, place }| {
            let mut fitting = versions.iter().filter(|version| constraint.allows(version));
            let range = match (fitting.next(), fitting.next_back()) {
                (None, _) => "none of them".to_owned(),
                (Some(only), None) => format!("only {only}"),
                (Some(first), Some(last)) => format!("{first} to {last}"),
            };
            format!("\n  {place} requires {constraint}: {range}")
        });
        let oldest = self.flavor.oldest();
        let too_old = match versions.iter().any(|version| *version >= oldest) {
            true => String::new(),
            false => format!("\n  cdflow needs {oldest} or newer: none of them"),
        };
        lines.chain([too_old]).collect()
    }
}

/// Returns the number of versions and what they are, from the oldest to the newest: all of a few,
/// else the range and the newest.
fn existing(versions: &[Version]) -> String {
    const FEW: usize = 8;
    const NEWEST: usize = 3;
    let list =
        |some: &[Version]| some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match versions {
        [first, .., last] if versions.len() > FEW => {
            let newest = list(&versions[versions.len() - NEWEST..]);
            format!("{} version(s), {first} to {last}; the newest are {newest}", versions.len())
        }
        _ => format!("{} version(s): {}", versions.len(), list(versions)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(list: &[(&str, &str)]) -> Vec<Wanted> {
        let one = |(place, constraint): &(&str, &str)| Wanted {
            constraint: constraint.parse().unwrap(),
            place: (*place).to_owned(),
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn the_newest_is_a_pre_release_only_if_one_is_asked_for() {
        let versions = ["1.12.0", "1.13.0-beta1", "1.13.0-rc1", "1.11.4", "1.12.1+ent"];
        let versions = versions.map(|text| text.parse::<Version>().unwrap());
        let code = |text| Wanted {
            constraint: Constraint::of_code(text).unwrap(),
            place: "infra/main.tf:2".into(),
        };
        for (wanted, newest) in [
            (vec![], Some("1.12.0")),
            (wanted(&[("cdflow.yml", "!= 1.12.0")]), Some("1.11.4")),
            (wanted(&[("cdflow.yml", ">= 1.12")]), Some("1.12.0")),
            (wanted(&[("cdflow.yml", "~> 1.13.0-alpha1")]), Some("1.13.0-rc1")),
            (wanted(&[("cdflow.yml", ">= 1.13")]), None),
            (vec![code(">= 1.12")], Some("1.12.0")),
            (vec![code(">= 1.13")], None),
            // Terraform lets a pre-release run code for the version that it precedes.
            (
                [wanted(&[("cdflow.yml", ">= 1.13.0-rc1")]), vec![code(">= 1.13")]].concat(),
                Some("1.13.0-rc1"),
            ),
        ] {
            let choice = Choice {
                flavor: Flavor::Terraform,
                wanted: &wanted,
                pick: None,
                mirror_keys: &[],
                pinned: None,
            };
            let found = choice.best(&versions).map(|version| version.to_string());
            assert_eq!(found.as_deref(), newest, "{wanted:?}");
        }
    }

    #[test]
    fn constraints_that_no_version_fulfils_need_no_list() {
        let needs = "; cdflow needs terraform 1.6.0 or newer\n  -> write a version that is 1.6.0 \
                     or newer, such as `~> 1.11.0`";
        let checked = |list: &[(&str, &str)]| {
            let wanted = wanted(list);
            let (flavor, pick, mirror_keys) = (Flavor::Terraform, None, &[][..]);
            let choice = Choice { flavor, wanted: &wanted, pick, mirror_keys, pinned: None };
            choice.check_agreement().map_err(|error| error.to_string())
        };
        for fine in [
            &[][..],
            &[("a", "< 1.7")],
            &[("a", ">= 1.9.0, != 1.9.0, != 1.9.1")],
            &[("a", "~> 1.13.0-alpha1")],
            &[("a", "> 1.9.3"), ("b", "< 1.9.5")],
            &[("a", "~> 1.9"), ("b", ">= 1.6")],
            &[("a", "<= 1.6.0")],
            &[("a", "> 1.9.0.1")],
        ] {
            assert_eq!(checked(fine), Ok(()), "{fine:?}");
        }
        for (old, named) in [
            (&[("b", ">= 1.6"), ("this run", "< 1.6")][..], "this run requires < 1.6"),
            (&[("a", "~> 1.5.0")], "a requires ~> 1.5.0"),
            (&[("a", ">= 0.12, < 0.14")], "a requires >= 0.12, < 0.14"),
        ] {
            let says = format!("no version of terraform can be used: {named}{needs}");
            assert_eq!(checked(old), Err(says));
        }
        assert_eq!(
            checked(&[("cdflow.yml", "< 1.9"), ("infra/main.tf:4", ">= 1.10")]),
            Err("no version of terraform can be used: cdflow.yml requires < 1.9; infra/main.tf:4 \
                 requires >= 1.10\n  -> change one of them"
                .to_owned())
        );
    }

    #[test]
    fn the_versions_that_exist_are_named() {
        let wanted = wanted(&[("cdflow.yml", ">= 1.20"), ("infra/main.tf:4", "~> 1.9")]);
        let (flavor, pick, mirror_keys) = (Flavor::Terraform, None, &[][..]);
        let choice = Choice { flavor, wanted: &wanted, pick, mirror_keys, pinned: None };
        let said = |minors: &[u64]| {
            let versions = minors.iter().map(|minor| Version::new(1, *minor, 2));
            let pre = "1.20.0-rc1".parse().unwrap();
            choice.none_of(versions.chain([pre]).collect(), "the mirror").to_string()
        };
        let begin = "no version of terraform at the mirror can be used";
        let end = "\n  -> change a constraint, or add a version to the mirror";
        for (minors, exist, allowed) in [
            (vec![8_u64], "it has 1 version(s): 1.8.2", "none of them"),
            (vec![10, 9, 8], "it has 3 version(s): 1.8.2, 1.9.2, 1.10.2", "1.9.2 to 1.10.2"),
            (
                (6..14).collect(),
                "it has 8 version(s): 1.6.2, 1.7.2, 1.8.2, 1.9.2, 1.10.2, 1.11.2, 1.12.2, 1.13.2",
                "1.9.2 to 1.13.2",
            ),
            (
                (6..15).collect(),
                "it has 9 version(s), 1.6.2 to 1.14.2; the newest are 1.12.2, 1.13.2, 1.14.2",
                "1.9.2 to 1.14.2",
            ),
        ] {
            let expected = format!(
                "{begin}: {exist}\n  cdflow.yml requires >= 1.20: none of them\n  \
                 infra/main.tf:4 requires ~> 1.9: {allowed}{end}"
            );
            assert_eq!(said(&minors), expected);
        }
        assert_eq!(said(&[]), format!("{begin}: its list has only pre-releases"));
    }

    #[test]
    fn what_does_not_fit_names_its_place() {
        let wanted = wanted(&[("cdflow.yml", "~> 1.9.0"), ("infra/main.tf:2", "!= 1.9.3")]);
        let choice = Choice {
            flavor: Flavor::Terraform,
            wanted: &wanted,
            pick: None,
            mirror_keys: &[],
            pinned: None,
        };
        for (version, misfit) in [
            ("1.9.2", None),
            ("1.9.3", Some("infra/main.tf:2 requires != 1.9.3")),
            ("1.10.0", Some("cdflow.yml requires ~> 1.9.0")),
            ("1.5.7", Some("cdflow needs terraform 1.6.0 or newer")),
        ] {
            assert_eq!(choice.misfit(&version.parse().unwrap()).as_deref(), misfit, "{version}");
        }
    }
}
