//! The layers of ARCHITECTURE.md hold in the code: nothing imports a layer above its own, and no
//! two files import each other in a circle. Imports are read from the syntax tree, in `use`
//! declarations and in every path.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Item, UseTree, visit::Visit};

use crate::support::in_repository;

/// A module's place below the crate's root: `["services", "store"]`.
type Module = Vec<String>;

/// An imported path, its line, and whether only tests import it.
struct Import {
    path: Module,
    line: usize,
    in_tests: bool,
}

struct File {
    module: Module,
    path: String,
    imports: Vec<Import>,
    /// Names that the file re-exports with `pub use`, and where they come from.
    reexports: BTreeMap<String, Module>,
}

#[test]
fn nothing_imports_a_layer_above_its_own() {
    let order = layers();
    let rank = |module: &[String]| {
        module.first().and_then(|name| order.iter().position(|layer| layer == name))
    };
    let mut upward = Vec::new();
    for file in files() {
        let Some(own) = rank(&file.module) else { continue };
        for import in &file.imports {
            if rank(&import.path).is_some_and(|target| target < own) {
                upward.push(format!(
                    "{}:{} imports `{}`",
                    file.path,
                    import.line,
                    import.path.join("::")
                ));
            }
        }
    }
    assert!(
        upward.is_empty(),
        "a layer may import only what ARCHITECTURE.md lists below it:\n{}",
        upward.join("\n")
    );
}

/// Files that read only what cdflow itself or the kernel wrote, or a store or state in a folder.
const OWN_FILES: [&str; 13] = [
    "src/base/run_folder.rs",
    "src/base/zombies.rs",
    "src/deploy/prepare/fetch.rs",
    "src/deploy/prepare/working_folder.rs",
    "src/deploy/rescue_state.rs",
    "src/release/bundle/index.rs",
    "src/release/facts.rs",
    "src/release/source/staging.rs",
    "src/services/ci/own_container.rs",
    "src/services/store/folder.rs",
    "src/services/store/s3/body.rs",
    "src/terraform/state/backend.rs",
    "src/terraform/state/lock.rs",
];

/// A link in a checkout can lead to a device without an end or to a pipe without a writer.
#[test]
fn files_of_a_checkout_are_read_by_small_file() {
    let mut found = BTreeSet::new();
    for file in files() {
        let tests = ["/tests.rs", "/testing.rs", "/tests/", "/report/samples.rs", "/fuzzing/"];
        let is_test = tests.iter().any(|name| file.path.contains(name));
        let text = fs::read_to_string(in_repository(&file.path)).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let reads = ["fs::read_to_string(", "fs::read(", "File::open("];
        if !is_test && reads.iter().any(|read| code.contains(read)) {
            found.insert(file.path);
        }
    }
    let allowed = OWN_FILES.map(str::to_owned);
    assert_eq!(found, BTreeSet::from(allowed), "read with `base::small_file`");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = files();
    let modules: BTreeMap<&Module, &File> = files.iter().map(|file| (&file.module, file)).collect();
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in &files {
        for import in file.imports.iter().filter(|import| !import.in_tests) {
            if let Some(target) =
                defining_file(&import.path, &modules).filter(|target| target.path != file.path)
            {
                edges.entry(&file.path).or_default().insert(&target.path);
            }
        }
    }
    let circles: Vec<String> =
        files.iter().filter_map(|file| circle_through(&file.path, &edges)).collect();
    assert!(
        circles.is_empty(),
        "files that import each other in a circle:\n{}",
        circles.join("\n")
    );
}

#[test]
fn every_layer_is_a_folder_and_every_folder_a_layer() {
    let folders = fs::read_dir(in_repository("src")).unwrap().map(|entry| entry.unwrap());
    let folders = folders
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(layers().into_iter().collect::<BTreeSet<_>>(), folders.collect());
}

/// From top to bottom, as ARCHITECTURE.md lists them.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(in_repository("ARCHITECTURE.md")).unwrap();
    let tree = text.split_once("```text\nsrc/\n").expect("ARCHITECTURE.md has the tree of src/").1;
    let lines = tree.lines().take_while(|line| !line.starts_with("```"));
    let top =
        lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    top.filter_map(|line| Some(line.split_once("/ ")?.0.to_owned())).collect()
}

fn files() -> Vec<File> {
    let root = in_repository("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("templates") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(read(&root, &path));
            }
        }
    }
    assert!(found.len() > 150, "src/ moved: adapt this test");
    found
}

fn read(root: &Path, path: &PathBuf) -> File {
    let below = path.strip_prefix(root).unwrap();
    let mut module: Module =
        below.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    let parsed = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
    let mut reader = Reader {
        in_tests: below.ends_with("tests.rs")
            || below.ends_with("testing.rs")
            || below.ends_with("samples.rs"),
        ..Reader::new(module.clone())
    };
    reader.visit_file(&parsed);
    let path = format!("src/{}", below.display());
    File { module, path, imports: reader.imports, reexports: reader.reexports }
}

/// Reads the imports of one file.
struct Reader {
    file: Module,
    /// The inline modules that are being read, below the file's own.
    inside: Module,
    in_tests: bool,
    /// The module that a name at the beginning of a path refers to.
    names: BTreeMap<String, Module>,
    imports: Vec<Import>,
    reexports: BTreeMap<String, Module>,
}

impl Reader {
    fn new(file: Module) -> Self {
        let (inside, in_tests) = (Module::new(), false);
        Self {
            file,
            inside,
            in_tests,
            names: BTreeMap::new(),
            imports: Vec::new(),
            reexports: BTreeMap::new(),
        }
    }

    /// The path from the crate's root; None for one that leads into another crate or to something
    /// of this file.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let here = || [self.file.clone(), self.inside.clone()].concat();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([here(), path[1..].to_vec()].concat()),
            "super" => {
                let above = path.iter().take_while(|part| *part == "super").count();
                let mut module = here();
                module.truncate(module.len().checked_sub(above)?);
                Some([module, path[above..].to_vec()].concat())
            }
            name => Some([self.names.get(name)?.clone(), path[1..].to_vec()].concat()),
        }
    }

    fn take(&mut self, path: &[String], line: usize) {
        if let Some(path) = self.absolute(path) {
            self.imports.push(Import { path, line, in_tests: self.in_tests });
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_file(&mut self, file: &'ast syn::File) {
        // A child module or an import can come after its first use.
        for item in &file.items {
            match item {
                Item::Mod(child) if child.content.is_none() => {
                    let module = [self.file.clone(), vec![child.ident.to_string()]].concat();
                    self.names.insert(child.ident.to_string(), module);
                }
                _ => {}
            }
        }
        for item in &file.items {
            let Item::Use(used) = item else { continue };
            for Leaf { path, name, .. } in leaves(&used.tree, Vec::new()) {
                let Some(module) = self.absolute(&path) else { continue };
                if !matches!(used.vis, syn::Visibility::Inherited) {
                    self.reexports.insert(name.clone(), module.clone());
                }
                self.names.insert(name, module);
            }
        }
        syn::visit::visit_file(self, file);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let was_in_tests = self.in_tests;
        self.in_tests |= is_for_tests(&module.attrs);
        self.inside.push(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
        self.inside.pop();
        self.in_tests = was_in_tests;
    }

    fn visit_item_use(&mut self, used: &'ast syn::ItemUse) {
        // A re-export is an import of the file that uses it, not of this one.
        if !matches!(used.vis, syn::Visibility::Inherited) {
            return;
        }
        for Leaf { path, name, line } in leaves(&used.tree, Vec::new()) {
            self.take(&path, line);
            if !self.inside.is_empty()
                && let Some(module) = self.absolute(&path)
            {
                self.names.entry(name).or_insert(module);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 {
            self.take(&parts, path.segments[0].ident.span().start().line);
        }
        syn::visit::visit_path(self, path);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// One path of a `use`, the name it brings, and its line.
struct Leaf {
    path: Module,
    name: String,
    line: usize,
}

fn leaves(tree: &UseTree, before: Module) -> Vec<Leaf> {
    let leaf = |last: &syn::Ident, name: &syn::Ident| {
        let (path, name) = match last == "self" {
            true if name == "self" => (before.clone(), before.last().cloned().unwrap_or_default()),
            true => (before.clone(), name.to_string()),
            false => ([before.clone(), vec![last.to_string()]].concat(), name.to_string()),
        };
        vec![Leaf { path, name, line: last.span().start().line }]
    };
    match tree {
        UseTree::Path(path) => {
            leaves(&path.tree, [before.clone(), vec![path.ident.to_string()]].concat())
        }
        UseTree::Group(group) => {
            group.items.iter().flat_map(|item| leaves(item, before.clone())).collect()
        }
        UseTree::Name(name) => leaf(&name.ident, &name.ident),
        UseTree::Rename(name) => leaf(&name.ident, &name.rename),
        UseTree::Glob(glob) => {
            vec![Leaf {
                path: before,
                name: "*".to_owned(),
                line: glob.star_token.spans[0].start().line,
            }]
        }
    }
}

/// The file that defines what `path` leads to: modules hand names on, and a path may go on behind
/// an item.
fn defining_file<'f>(path: &[String], modules: &BTreeMap<&Module, &'f File>) -> Option<&'f File> {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let length = (1..=path.len())
            .rev()
            .find(|length| modules.contains_key(&path[..*length].to_vec()))?;
        let file = modules[&path[..length].to_vec()];
        match path.get(length).and_then(|name| file.reexports.get(name)) {
            Some(origin) if *origin != path => {
                path = [origin.clone(), path[length + 1..].to_vec()].concat()
            }
            _ if path.len() == length => return None,
            _ => return Some(file),
        }
    }
    None
}

/// The shortest way from a file back to itself, told once: by the file that comes first in the
/// alphabet.
fn circle_through(start: &str, edges: &BTreeMap<&str, BTreeSet<&str>>) -> Option<String> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in edges.get(way.last()?).into_iter().flatten() {
                if *next == start {
                    return way
                        .iter()
                        .all(|file| *file >= start)
                        .then(|| format!("{} -> {start}", way.join(" -> ")));
                }
                if seen.insert(*next) {
                    longer.push([way.clone(), vec![*next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}
