//! The files by which other tools choose a version of Terraform or OpenTofu.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    base::{
        error::{Error, Result},
        printable, small_file,
    },
    config::{
        flavor::Flavor,
        version_constraint::{Constraint, Wanted},
        version_pick::{End, VersionPick},
    },
};

/// The file of asdf and mise.
const TOOL_VERSIONS: &str = ".tool-versions";
/// In each folder, they are read in this order: tfenv, tofuenv, tfswitch, asdf and mise.
const FILES: [&str; 4] = [".terraform-version", ".opentofu-version", ".tfswitchrc", TOOL_VERSIONS];

/// What the version files say. For each tool, those of the nearest folder that names it count.
#[derive(Debug, Default)]
pub(super) struct VersionFiles {
    terraform: Named,
    opentofu: Named,
    /// What the files say but cdflow ignores.
    pub(super) unused: Vec<String>,
    pub(super) paths: Vec<PathBuf>,
}

/// What the files of one folder say about a tool.
#[derive(Debug, Default)]
struct Named {
    /// Also true if they leave the version open, because folders further up do not count then.
    is_named: bool,
    wanted: Vec<Wanted>,
    pick: Option<VersionPick>,
}

impl VersionFiles {
    /// Reads the files in infra/ and `folder`, where other tools run Terraform, and up to the root
    /// of the repository. Without a repository, reads only these two folders.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let has_git = |above: &&Path| above.join(".git").exists();
        let root = folder.ancestors().find(has_git).unwrap_or(folder);
        let mut found = Self::default();
        for above in folder.join("infra").ancestors() {
            found.add_folder(above, root)?;
            if above == root {
                break;
            }
        }
        Ok(found)
    }

    /// Returns what the files require, in the order of the files.
    pub(super) fn wanted(&self, flavor: Flavor) -> &[Wanted] {
        &self.of(flavor).wanted
    }

    /// Returns which of the allowed versions the files ask for.
    pub(super) fn pick(&self, flavor: Flavor) -> Option<&VersionPick> {
        self.of(flavor).pick.as_ref()
    }

    /// Whether a file is about the tool, even if it leaves the version open.
    pub(super) fn names(&self, flavor: Flavor) -> bool {
        self.of(flavor).is_named
    }

    /// Returns what the files say about the version of a tool, in words.
    pub(super) fn asks(&self, flavor: Flavor) -> Option<String> {
        let one = self.wanted(flavor).first();
        one.map(|one| format!("{} {} in {}", flavor.title(), one.constraint, one.place))
            .or_else(|| Some(format!("{} {}", flavor.title(), self.pick(flavor)?)))
    }

    fn of(&self, flavor: Flavor) -> &Named {
        match flavor {
            Flavor::Terraform => &self.terraform,
            Flavor::OpenTofu => &self.opentofu,
        }
    }

    fn named(&mut self, flavor: Flavor) -> &mut Named {
        match flavor {
            Flavor::Terraform => &mut self.terraform,
            Flavor::OpenTofu => &mut self.opentofu,
        }
    }

    fn add_folder(&mut self, folder: &Path, root: &Path) -> Result<()> {
        let before = [Flavor::Terraform, Flavor::OpenTofu].map(|it| self.named(it).is_named);
        let mut lines = Vec::new();
        for name in FILES {
            let path = folder.join(name);
            let Some(text) = text_of(&path, root)? else { continue };
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            lines.extend(lines_of(name, &shown, &text));
            self.paths.push(path);
        }
        for line in lines {
            let is_settled = match line.flavor {
                Flavor::Terraform => before[0],
                Flavor::OpenTofu => before[1],
            };
            if !is_settled {
                self.add(line)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, line: Line) -> Result<()> {
        self.named(line.flavor).is_named = true;
        let Line { place, text, others, .. } = &line;
        if !others.is_empty() {
            let (others, first) = (printable::excerpt(others), printable::excerpt(text));
            self.unused
                .push(format!("{place}: `{others}`: only the first version counts, `{first}`"));
        }
        if let Some(why) = line.why_open() {
            self.unused.push(format!("{place}: `{}`: {why}", printable::excerpt(text)));
            return Ok(());
        }
        if let Some(end) = End::of(text) {
            let pick = VersionPick { end, text: text.clone(), place: place.clone() };
            return self.add_pick(line.flavor, pick);
        }
        let constraint = line.constraint()?;
        let wanted = Wanted { constraint, place: line.place };
        let known = &mut self.named(line.flavor).wanted;
        known.iter().try_for_each(|before| check_agree(before, &wanted))?;
        known.push(wanted);
        Ok(())
    }

    fn add_pick(&mut self, flavor: Flavor, pick: VersionPick) -> Result<()> {
        let known = self.named(flavor).pick.get_or_insert_with(|| pick.clone());
        if known.end == pick.end {
            return Ok(());
        }
        Err(Error::input(format!("{known} and {pick} contradict each other"))
            .hint("change one of the two, or set --terraform-version for this run"))
    }
}

/// What a file says about a tool in one line.
#[derive(Debug)]
struct Line {
    flavor: Flavor,
    /// `.tool-versions:3`.
    place: String,
    text: String,
    /// What follows `text`.
    others: String,
    /// Whether the line has the name of the tool, and `1.9` means the series.
    is_named: bool,
    /// The value of a line of TOML, which none of the files is.
    toml: Option<String>,
}

impl Line {
    /// Returns why the version is left open, if the file asks for something that cdflow does not
    /// support.
    fn why_open(&self) -> Option<&'static str> {
        let begins = |words: &[&str]| words.iter().any(|word| self.text.starts_with(word));
        match self.text.as_str() {
            "" => Some("the version is missing"),
            "system" => Some("the program in PATH is used if its version fits"),
            _ if begins(&["ref:", "path:", "prefix:", "sub-"]) => {
                Some("cdflow uses only released versions")
            }
            _ => None,
        }
    }

    fn constraint(&self) -> Result<Constraint> {
        if let Some(value) = &self.toml {
            return Err(self.in_toml(value));
        }
        if self.text.starts_with("latest") {
            return Err(self.pattern());
        }
        let parsed = Constraint::of_setting(&self.text).map_err(|why| {
            Error::input(format!("{}: the version is malformed", self.place))
                .why(why)
                .hint(format!("write a version, such as `{}`", self.line_of("1.9.8")))
                .hint(match self.is_named {
                    true => format!("or write a series, such as `{}`", self.line_of("1.9")),
                    false => "or write a constraint, such as `~> 1.9.0`".to_owned(),
                })
                .hint("or set --terraform-version for this run, which ignores the file")
        })?;
        let series = parsed.as_series().filter(|_| self.is_named);
        Ok(series.unwrap_or(parsed))
    }

    /// Returns the line that the file should have.
    fn line_of(&self, version: &str) -> String {
        match self.is_named {
            true => format!("{} {version}", self.flavor.title().to_lowercase()),
            false => version.to_owned(),
        }
    }

    /// `terraform = "1.9.8"`, as in mise.toml, or `version = "1.9.8"`, as in .tfswitch.toml.
    fn in_toml(&self, value: &str) -> Error {
        let version = match value.parse::<Constraint>() {
            Ok(_) => value,
            Err(_) => "1.9.8",
        };
        let expected = match self.is_named {
            true => "each line of the file has a name, a space and a version",
            false => "the file has the version alone",
        };
        Error::input(format!("{}: the version is malformed: the line is TOML", self.place))
            .why(expected)
            .hint(format!("write `{}`", self.line_of(version)))
            .hint("or set `terraform-version` or `opentofu-version` in cdflow.yml")
    }

    /// `latest:^1.8` and other words that begin like `latest`.
    fn pattern(&self) -> Error {
        let pattern = self.text.split_once(':').map_or("", |(_, pattern)| pattern);
        let plain = pattern.replace('\\', "");
        let plain = plain.trim_start_matches('^').trim_end_matches(['.', '*', '$']);
        let series = plain.parse::<Constraint>().ok().and_then(|parsed| parsed.as_series());
        let series = series.map_or_else(|| "~> 1.11.0".to_owned(), |series| series.to_string());
        Error::input(format!(
            "{}: `{}` is not supported",
            self.place,
            printable::excerpt(&self.text)
        ))
        .why("cdflow does not choose versions by a pattern")
        .hint(format!(
            "write a constraint, such as `{series}`, or `latest`, `latest-allowed` or \
             `min-required`"
        ))
    }
}

/// Returns the text of a file; None if the file does not exist. Rejects a link to a file outside
/// the repository.
fn text_of(path: &Path, root: &Path) -> Result<Option<String>> {
    let failed = |error: io::Error| Error::io("cannot read", path, &error);
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(None),
        Ok(_) => {}
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    }
    let real = fs::canonicalize(path).map_err(failed)?;
    if !fs::canonicalize(root).is_ok_and(|root| real.starts_with(root)) {
        return Err(Error::input(format!("cannot read `{}`", path.display()))
            .why("it is a link to a file outside the repository")
            .hint("replace it with a file"));
    }
    let text = small_file::text(path).map_err(failed)?;
    Ok(Some(text.trim_start_matches('\u{feff}').to_owned()))
}

fn lines_of(name: &str, shown: &str, text: &str) -> Vec<Line> {
    let lines = text.lines().enumerate().map(|(index, line)| {
        (format!("{shown}:{}", index + 1), line.split('#').next().unwrap_or_default().trim())
    });
    let mut lines = lines.filter(|(_, line)| !line.is_empty());
    if name == TOOL_VERSIONS {
        return lines.filter_map(|(place, line)| of_tool_versions(place, line)).collect();
    }
    let flavor = match name {
        ".opentofu-version" => Flavor::OpenTofu,
        _ => Flavor::Terraform,
    };
    let (place, text) = lines.next().unwrap_or_else(|| (shown.to_owned(), ""));
    let others: Vec<&str> = lines.map(|(_, line)| line).collect();
    let (toml, others) = (toml(text).map(|(_, value)| value), others.join(" "));
    vec![Line { flavor, place, text: text.to_owned(), others, is_named: false, toml }]
}

/// Returns the key and the value of a line of TOML.
fn toml(line: &str) -> Option<(&str, String)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim().trim_matches(['"', '\'']);
    let is_key = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_value = value.starts_with(' ') || value.starts_with(['"', '\'', '[', '{']);
    if !is_value || !key.starts_with(|c: char| c.is_ascii_alphabetic()) || !key.chars().all(is_key)
    {
        return None;
    }
    let mut words = value.split(['"', '\'']).map(str::trim).filter(|it| !it.is_empty());
    let quoted = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Some((key, quoted.unwrap_or(value.trim()).to_owned()))
}

/// `terraform 1.9.8 1.8.0`: asdf uses the first that is installed.
fn of_tool_versions(place: String, line: &str) -> Option<Line> {
    let toml = toml(line);
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let flavor = match toml.as_ref().map_or(first, |(key, _)| *key) {
        "terraform" => Flavor::Terraform,
        "opentofu" => Flavor::OpenTofu,
        _ => return None,
    };
    if let Some((_, value)) = toml {
        let (text, others) = (line.to_owned(), String::new());
        return Some(Line { flavor, place, text, others, is_named: true, toml: Some(value) });
    }
    let text = words.next().unwrap_or_default().to_owned();
    let others = words.collect::<Vec<_>>().join(" ");
    Some(Line { flavor, place, text, others, is_named: true, toml: None })
}

/// Fails if one place names a version that another does not allow.
pub(super) fn check_agree(one: &Wanted, other: &Wanted) -> Result<()> {
    let refuses = |exact: &Wanted, range: &Wanted| {
        exact.constraint.exact().is_some_and(|version| !range.constraint.allows(&version))
    };
    if !refuses(one, other) && !refuses(other, one) {
        return Ok(());
    }
    Err(Error::input(format!("{} and {} contradict each other", one.place, other.place))
        .why(format!("the first requires {}, the second {}", one.constraint, other.constraint))
        .hint("change one of the two, or set --terraform-version for this run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with the component in `a/b`.
    fn read(files: &[(&str, &str)]) -> Result<VersionFiles> {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("repo/a/b");
        fs::create_dir_all(folder.join("infra")).unwrap();
        fs::create_dir(root.path().join("repo/.git")).unwrap();
        for (name, text) in files {
            let path = root.path().join("repo").join(name);
            match text.strip_prefix("-> ") {
                Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        VersionFiles::read(&folder)
    }

    fn shown(found: &VersionFiles, flavor: Flavor) -> String {
        let wanted = found.wanted(flavor).iter();
        wanted.map(|it| format!("{} {}", it.place, it.constraint)).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_nearest_file_counts() {
        for (files, terraform, opentofu) in [
            (&[("a/b/.terraform-version", "1.9.8\n")][..], "a/b/.terraform-version:1 1.9.8", ""),
            (
                &[(".terraform-version", "# why\n\nv1.9.8 # here\r\n")],
                ".terraform-version:3 v1.9.8",
                "",
            ),
            (&[("a/.tfswitchrc", "~> 1.9.0")], "a/.tfswitchrc:1 ~> 1.9.0", ""),
            (
                &[(".terraform-version", "1.8.0"), ("a/.tfswitchrc", "1.9.0")],
                "a/.tfswitchrc:1 1.9.0",
                "",
            ),
            (
                &[("a/b/infra/.terraform-version", "1.9.8"), ("a/b/.terraform-version", "1.8.0")],
                "a/b/infra/.terraform-version:1 1.9.8",
                "",
            ),
            (
                &[(".tool-versions", "nodejs 20\nterraform 1.9.8\r\nopentofu 1.8.2\n")],
                ".tool-versions:2 1.9.8",
                ".tool-versions:3 1.8.2",
            ),
            (&[("a/.tool-versions", "terraform 1.9\n")], "a/.tool-versions:1 ~> 1.9.0", ""),
            (&[("a/.tool-versions", "terraform 1")], "a/.tool-versions:1 ~> 1.0", ""),
            (&[(".opentofu-version", "\u{feff}1.8.2")], "", ".opentofu-version:1 1.8.2"),
            (&[("../.terraform-version", "1.9.8")], "", ""),
            // Each tool has its own nearest folder.
            (
                &[
                    ("a/.opentofu-version", "1.8.2"),
                    (".tool-versions", "terraform 1.9.8\nopentofu 1.7.0"),
                ],
                ".tool-versions:1 1.9.8",
                "a/.opentofu-version:1 1.8.2",
            ),
            // Files further up do not count, even if the nearest leaves the version open.
            (&[("a/b/.terraform-version", "latest\n"), (".terraform-version", "1.5.7")], "", ""),
            (
                &[("a/.terraform-version", "1.9.8"), (".terraform-version", "no version")],
                "a/.terraform-version:1 1.9.8",
                "",
            ),
            (
                &[(".terraform-version", "1.9.8"), (".tfswitchrc", "~> 1.9.0")],
                ".terraform-version:1 1.9.8; .tfswitchrc:1 ~> 1.9.0",
                "",
            ),
            (
                &[(".tfswitchrc", ">= 1.8"), (".tool-versions", "terraform 1.9.8\n")],
                ".tfswitchrc:1 >= 1.8; .tool-versions:1 1.9.8",
                "",
            ),
            (
                &[(".terraform-version", "-> a/version"), ("a/version", "1.9.8")],
                ".terraform-version:1 1.9.8",
                "",
            ),
        ] {
            let found = read(files).unwrap();
            assert_eq!(shown(&found, Flavor::Terraform), terraform, "{files:?}");
            assert_eq!(shown(&found, Flavor::OpenTofu), opentofu, "{files:?}");
            assert!(found.unused.is_empty(), "{files:?}: {:?}", found.unused);
        }
    }

    #[test]
    fn without_a_repository_no_other_folder_counts() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join(".terraform-version"), "1.9.8").unwrap();
        let found = VersionFiles::read(&root.path().join("a")).unwrap();
        assert!(found.wanted(Flavor::Terraform).is_empty() && found.paths.is_empty());
    }

    #[test]
    fn what_is_not_used_is_named() {
        for (name, text, unused) in [
            (
                ".terraform-version",
                "1.9.8\n1.8.0\n",
                ":1: `1.8.0`: only the first version counts, `1.9.8`",
            ),
            (".terraform-version", "# none\n", ".terraform-version: ``: the version is missing"),
            (
                ".tool-versions",
                "terraform 1.9.8 1.8.0 1.7.0",
                "`1.8.0 1.7.0`: only the first version counts, `1.9.8`",
            ),
            (".tool-versions", "terraform\n", ".tool-versions:1: ``: the version is missing"),
            (".tool-versions", "terraform ref:main\n", "`ref:main`: cdflow uses only released"),
            (".tool-versions", "terraform path:/opt/tf", "`path:/opt/tf`: cdflow uses only"),
            (".tool-versions", "terraform system", "`system`: the program in PATH"),
        ] {
            let found = read(&[(name, text)]).unwrap();
            assert!(found.unused[0].contains(unused), "{text}: {:?}", found.unused);
            assert_eq!(found.unused.len(), 1);
        }
    }

    #[test]
    fn words_for_an_end_of_the_list() {
        use Flavor::{OpenTofu, Terraform};
        let both = [(".opentofu-version", "latest\n"), (".tool-versions", "terraform latest\n")];
        let found = read(&both).unwrap();
        let pick = |flavor| found.pick(flavor).unwrap().to_string();
        assert_eq!(pick(OpenTofu), "`latest` in .opentofu-version:1");
        assert_eq!(pick(Terraform), "`latest` in .tool-versions:1");
        assert_eq!(found.asks(OpenTofu).unwrap(), "OpenTofu `latest` in .opentofu-version:1");
        for (text, end) in [
            ("latest", End::Newest),
            ("latest-allowed", End::Newest),
            ("min-required", End::Oldest),
        ] {
            let found = read(&[(".terraform-version", text)]).unwrap();
            assert_eq!(found.pick(Terraform).map(|pick| pick.end), Some(end));
            assert!(found.names(Terraform) && !found.names(OpenTofu) && found.unused.is_empty());
        }
        let contradiction = [(".terraform-version", "latest"), (".tfswitchrc", "min-required")];
        let error = read(&contradiction).unwrap_err().to_string();
        let says = "`latest` in .terraform-version:1 and `min-required` in .tfswitchrc:1 contra";
        assert!(error.contains(says), "{error}");
        for (text, series) in [
            ("latest:^1.8", "~> 1.8.0"),
            ("latest:^1\\.8\\.", "~> 1.8.0"),
            ("latest:1.9", "~> 1.9.0"),
            ("latest:(a|b)", "~> 1.11.0"),
            ("latest-pre", "~> 1.11.0"),
        ] {
            let error = read(&[("a/.terraform-version", text)]).unwrap_err().to_string();
            let says = format!("a/.terraform-version:1: `{}` is", text.escape_debug());
            assert!(error.contains(&says) && error.contains(&format!("`{series}`")), "{error}");
        }
    }

    #[test]
    fn a_message_shows_only_the_beginning_of_a_file() {
        let long = "1\u{1b}".repeat(1 << 20);
        let error = read(&[(".terraform-version", &long)]).unwrap_err().to_string();
        assert!(error.len() < 1000 && error.contains('…') && !error.contains('\u{1b}'), "{error}");
        let found = read(&[(".terraform-version", &format!("1.9.8\n{long}"))]).unwrap();
        assert!(found.unused[0].len() < 1000, "{}", found.unused[0].len());
    }

    #[test]
    fn bad_files_are_named() {
        for (name, text, says) in [
            (
                ".terraform-version",
                "\n1.9.x\n",
                ".terraform-version:2: the version is malformed: `1.9.x` is not a version \
                 constraint: expected a number in column 5, found `x`",
            ),
            (".opentofu-version", "1.9;", ".opentofu-version:1: the version is malformed"),
            (".tfswitchrc", "> = 1.9", ".tfswitchrc:1: the version is malformed"),
            (".tool-versions", "terraform\t1.9.8.\n", ".tool-versions:1: the version is malformed"),
            (
                ".tool-versions",
                "terraform 1.x",
                "  -> write a version, such as `terraform 1.9.8`\n  -> or write a series, such as \
                 `terraform 1.9`\n",
            ),
            (
                ".tfswitchrc",
                "\"1.9.8\"",
                "  -> write a version, such as `1.9.8`\n  -> or write a constraint, such as `~> \
                 1.9.0`\n",
            ),
            (".terraform-version", "\0", "the version is malformed"),
            (".terraform-version", "-> ../outside", "cannot read"),
            (".terraform-version", "-> /etc/passwd", "a link to a file outside the repository"),
            (".terraform-version", "-> /dev/zero", "a link to a file outside the repository"),
        ] {
            let error = read(&[(name, text)]).unwrap_err();
            assert!(error.to_string().contains(says), "{text}: {error}");
            assert_eq!(error.exit(), crate::base::error::Exit::Input);
        }
    }

    /// The files of mise and tfswitch that are TOML have other names.
    #[test]
    fn toml_is_named() {
        for (name, text, says, write) in [
            (".tool-versions", "[tools]\nterraform = \"1.9.7\"\n", ":2: the v", "terraform 1.9.7"),
            (".tool-versions", "opentofu=[\"1.8.2\", \"1.7\"]", ":1: the v", "opentofu 1.8.2"),
            (".tool-versions", "'terraform' = '1.9'", ":1: the version", "terraform 1.9"),
            (".tool-versions", "terraform = { version = \"1.9.7\" }", ":1: ", "terraform 1.9.7"),
            (".tool-versions", "terraform = \"latest\"", ":1: ", "terraform 1.9.8"),
            (".tfswitchrc", "# why\nversion = \"1.9.7\"\n", ".tfswitchrc:2: the version", "1.9.7"),
            (".terraform-version", "version = '~> 1.9'", ".terraform-version:1: ", "1.9.8"),
            (".opentofu-version", "version = 1.8.2", ".opentofu-version:1: the version", "1.8.2"),
        ] {
            let error = read(&[(name, text)]).unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains("malformed: the line is TOML"),
                "{error}"
            );
            assert!(error.contains(&format!("-> write `{write}`\n")), "{error}");
        }
        let other =
            read(&[(".tool-versions", "[tools]\nnode = \"20\"\nterraform =1.9.8")]).unwrap();
        assert_eq!(shown(&other, Flavor::Terraform), ".tool-versions:3 =1.9.8");
    }

    #[test]
    fn contradictions_name_both_places() {
        let says = ".terraform-version:1 and .tool-versions:1 contradict each other: the first \
                    requires 1.9.8, the second 1.8.0";
        for (files, says) in [
            (&[(".terraform-version", "1.9.8"), (".tool-versions", "terraform 1.8.0")][..], says),
            (
                &[(".terraform-version", "1.9.8"), (".tfswitchrc", "~> 1.8.0")],
                ".tfswitchrc:1 contr",
            ),
            (
                &[(".tfswitchrc", "< 1.9"), (".tool-versions", "terraform 1.9.8")],
                ".tool-versions:1",
            ),
            (
                &[(".tool-versions", "terraform 1.9.8\nterraform 1.9.7")],
                ".tool-versions:2 contradict",
            ),
        ] {
            let error = read(files).unwrap_err().story();
            assert!(error.contains(says), "{error}");
        }
    }
}
