//! Tests of the cache: what is kept, damage, stamps, eviction, and many runs at once.

use std::os::unix::fs::symlink;

use super::*;
use crate::base::redact::Redactor;

const CONTENT: &[u8] = b"a provider";

struct Fixture {
    root: tempfile::TempDir,
    cache: FileCache,
}

fn sha256() -> Sha256 {
    Sha256::of(CONTENT)
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let log = Log::new(Redactor::default(), 0, true, false);
        let cache = FileCache::at(root.path().join("files"), log);
        Self { root, cache }
    }

    /// A cache that has the file.
    fn filled() -> Self {
        let fixture = Self::new();
        let file = fixture.root.path().join("run");
        fs::write(&file, CONTENT).unwrap();
        fixture.cache.keep(&file, sha256());
        fixture
    }

    fn path(&self) -> PathBuf {
        self.cache.path(sha256())
    }

    fn find(&self) -> Option<CachedFile> {
        self.cache.find(sha256(), CONTENT.len() as u64)
    }

    /// Whether the content is found without hashing it.
    fn is_stamped(&self) -> bool {
        self.cache.is_stamped(sha256(), &fs::symlink_metadata(self.path()).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.cache.folder).unwrap().map(Result::unwrap);
        let mut names: Vec<String> =
            entries.map(|it| it.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Changes the content, and nothing that a stamp has.
    fn change_unnoticed(&self) {
        let before = fs::metadata(self.path()).unwrap();
        fs::write(self.path(), "A provider").unwrap();
        File::open(self.path()).unwrap().set_modified(before.modified().unwrap()).unwrap();
        assert!(self.is_stamped());
    }
}

#[test]
fn what_is_kept_is_found_and_linked() {
    let fixture = Fixture::filled();
    let cached = fixture.find().unwrap();
    assert!(fixture.is_stamped());
    let to = fixture.root.path().join("to");
    cached.place(&to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), CONTENT);
    assert_eq!(fs::metadata(fixture.path()).unwrap().mode() & 0o7777, MODE);
    assert!(cached.is_on_disk_of(fixture.root.path()));
    assert!(fixture.cache.find(Sha256::of(b"other"), 5).is_none());
    assert_eq!(fixture.names(), [sha256().to_string(), format!("{}.stamp", sha256())]);
    // The same file again, as by two runs at once.
    fixture.cache.keep(&to, sha256());
    assert!(fixture.is_stamped() && fixture.names().len() == 2);
}

#[test]
fn damage_is_found_and_removed() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("changed", |path| fs::write(path, "A provider").unwrap()),
        ("truncated", |path| fs::write(path, &CONTENT[..5]).unwrap()),
        ("longer", |path| fs::write(path, [CONTENT, b"!"].concat()).unwrap()),
        ("replaced", |path| {
            fs::remove_file(path).unwrap();
            fs::write(path, "A provider").unwrap();
        }),
        ("empty", |path| fs::write(path, "").unwrap()),
    ];
    for (name, damage) in damages {
        let fixture = Fixture::filled();
        damage(&fixture.path());
        assert!(fixture.find().is_none(), "{name}");
        assert!(!fixture.path().exists(), "{name}");
        let file = fixture.root.path().join("again");
        fs::write(&file, CONTENT).unwrap();
        fixture.cache.keep(&file, sha256());
        assert!(fixture.is_stamped() && fixture.find().is_some(), "{name}");
    }
    for replace in
        [|path: &Path| symlink("/etc/hostname", path), |path: &Path| fs::create_dir(path)]
    {
        let fixture = Fixture::filled();
        fs::remove_file(fixture.path()).unwrap();
        replace(&fixture.path()).unwrap();
        assert!(fixture.find().is_none());
    }
}

#[test]
fn without_a_stamp_that_fits_the_content_decides() {
    type Change = fn(&Fixture);
    let changes: [(&str, Change); 6] = [
        ("no stamp", |it| fs::remove_file(it.cache.stamp(sha256())).unwrap()),
        ("a damaged stamp", |it| fs::write(it.cache.stamp(sha256()), "1 10").unwrap()),
        ("another time", |it| {
            File::open(it.path()).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
        ("another inode", |it| {
            let copy = it.cache.folder.join("copy");
            fs::copy(it.path(), &copy).unwrap();
            fs::rename(copy, it.path()).unwrap();
        }),
        ("a file that its owner can write", |it| {
            fs::set_permissions(it.path(), Permissions::from_mode(0o755)).unwrap();
        }),
        ("a stamp that others can write", |it| {
            let stamp = it.cache.stamp(sha256());
            fs::set_permissions(stamp, Permissions::from_mode(0o666)).unwrap();
        }),
    ];
    for (name, change) in changes {
        let fixture = Fixture::filled();
        change(&fixture);
        assert!(!fixture.is_stamped(), "{name}");
        assert!(fixture.find().is_some(), "{name}");
        assert!(fixture.is_stamped(), "{name}: it is stamped again");
    }
}

#[test]
fn a_folder_of_others_has_no_stamps() {
    let mut fixture = Fixture::filled();
    fixture.change_unnoticed();
    assert!(fixture.find().is_some(), "this is what a stamp cannot see");
    fixture.cache.trusts_stamps = false;
    assert!(fixture.find().is_none());
}

#[test]
fn a_change_that_no_stamp_shows_is_removed_on_demand() {
    let fixture = Fixture::filled();
    let cached = fixture.find().unwrap();
    assert!(!fixture.cache.check_again(&cached));
    fixture.change_unnoticed();
    assert!(fixture.cache.check_again(&cached));
    assert!(!fixture.path().exists());
}

#[test]
fn a_file_that_is_removed_after_the_check_is_still_placed() {
    let fixture = Fixture::filled();
    let cached = fixture.find().unwrap();
    let to = |name: &str| fixture.root.path().join(name);
    assert!(fixture.cache.clear());
    assert!(!fixture.cache.clear());
    cached.place(&to("gone")).unwrap();
    // Another file under the same name is not taken for it.
    fs::write(fixture.path(), "A provider").unwrap();
    cached.place(&to("other")).unwrap();
    for name in ["gone", "other"] {
        assert_eq!(fs::read(to(name)).unwrap(), CONTENT);
        assert_eq!(fs::metadata(to(name)).unwrap().mode() & 0o777, OF_RUN);
    }
}

#[test]
fn what_was_used_longest_ago_is_removed_first() {
    let fixture = Fixture::new();
    let sizes = [("one", 10), ("two", 20), ("three", 30)];
    let digests = sizes.map(|(name, size)| {
        let file = fixture.root.path().join(name);
        fs::write(&file, vec![b'x'; size]).unwrap();
        let sha256 = Sha256::of(&fs::read(&file).unwrap());
        fixture.cache.keep(&file, sha256);
        sha256
    });
    let used = |digest, hours_ago: u64| {
        let at = std::time::SystemTime::now() - std::time::Duration::from_secs(hours_ago * 3600);
        File::open(fixture.cache.stamp(digest)).unwrap().set_modified(at).unwrap();
    };
    for (digest, hours_ago) in digests.into_iter().zip([5, 3, 4]) {
        used(digest, hours_ago);
    }
    assert_eq!(Usage::of(&fixture.cache.folder), Usage { files: 3, bytes: 60 });
    assert!(fixture.cache.find(digests[0], 10).is_some(), "a use counts");
    let is_there = || digests.map(|digest| fixture.cache.path(digest).exists());
    eviction::evict(&fixture.cache.folder, 40, &fixture.cache.log);
    assert_eq!(is_there(), [true, true, false]);
    used(digests[1], 61 * 24);
    // What killed runs left, and what one that still runs has made.
    for (name, is_old) in [(".new-old", true), (".new-young", false), ("x.stamp", true)] {
        let path = fixture.cache.folder.join(name);
        fs::write(&path, "").unwrap();
        let at = if is_old { std::time::UNIX_EPOCH } else { std::time::SystemTime::now() };
        File::open(&path).unwrap().set_modified(at).unwrap();
    }
    eviction::evict(&fixture.cache.folder, 1000, &fixture.cache.log);
    let left = digests[0];
    assert_eq!(
        fixture.names(),
        [".new-young".to_owned(), left.to_string(), format!("{left}.stamp")]
    );
}

#[test]
fn a_cache_that_cannot_be_written_fails_nothing() {
    let fixture = Fixture::new();
    let file = fixture.root.path().join("run");
    fs::write(&file, CONTENT).unwrap();
    fs::remove_dir(&fixture.cache.folder).unwrap();
    fs::write(&fixture.cache.folder, "not a folder").unwrap();
    fixture.cache.keep(&file, sha256());
    assert!(fixture.find().is_none());
    assert_eq!(fs::read(&file).unwrap(), CONTENT);
}

#[test]
fn many_runs_at_once() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for run in 0..8 {
            let fixture = &fixture;
            scope.spawn(move || {
                for round in 0..20 {
                    let to = fixture.root.path().join(format!("{run}-{round}"));
                    match fixture.find() {
                        Some(cached) => cached.place(&to).unwrap(),
                        None => {
                            fs::write(&to, CONTENT).unwrap();
                            fixture.cache.keep(&to, sha256());
                        }
                    }
                    assert_eq!(fs::read(&to).unwrap(), CONTENT);
                    if round % 5 == 4 {
                        fixture.cache.clear();
                    }
                }
            });
        }
    });
}
