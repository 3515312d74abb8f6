//! Whether a text could be ordinary words, which must not be masked wherever they occur.

/// Values and names that occur in every output.
const ORDINARY: [&str; 62] = [
    "true",
    "false",
    "null",
    "none",
    "then",
    "else",
    "elif",
    "done",
    "esac",
    "case",
    "exit",
    "echo",
    "function",
    "return",
    "export",
    "main",
    "master",
    "prod",
    "production",
    "staging",
    "stage",
    "live",
    "test",
    "testing",
    "develop",
    "development",
    "preview",
    "sandbox",
    "admin",
    "root",
    "user",
    "users",
    "name",
    "default",
    "localhost",
    "postgres",
    "postgresql",
    "mysql",
    "redis",
    "http",
    "https",
    "string",
    "number",
    "object",
    "list",
    "enabled",
    "disabled",
    "public",
    "private",
    "password",
    "secret",
    "secrets",
    "token",
    "username",
    "create",
    "destroy",
    "update",
    "deploy",
    "deployed",
    "release",
    "input",
    "output",
];
/// Longer text is never a word by chance.
const LONG: usize = 20;
const SHORT: usize = 8;

/// Whether masking `text` would garble what is true: it is one of the words of every
/// output, or a region.
pub(super) fn is_ordinary(text: &str) -> bool {
    let lower = text.trim().to_lowercase();
    ORDINARY.contains(&lower.as_str()) || is_region(&lower)
}

/// Whether `text` is long or mixed enough that it cannot be a word or a name.
pub(super) fn is_distinctive(text: &str) -> bool {
    let text = text.trim();
    if text.len() < SHORT || is_ordinary(text) {
        return false;
    }
    text.len() >= LONG
        || if text.contains(char::is_whitespace) { is_odd_line(text) } else { is_odd_token(text) }
}

/// Whether a text without whitespace has letters and digits, or characters that no name has.
fn is_odd_token(text: &str) -> bool {
    let bare = text.trim_matches(['"', '\'', ',', ';', '(', ')', '[', ']', '{', '}']);
    let has = |class: fn(char) -> bool| bare.chars().any(class);
    (has(char::is_alphabetic) && has(char::is_numeric))
        || bare.chars().any(|c| !c.is_alphanumeric() && !"-_./:".contains(c))
        || bare.split(['-', '_', '.', '/', ':']).any(is_mixed)
}

/// Whether a line of several words has one that cannot be a word.
fn is_odd_line(text: &str) -> bool {
    let joins = |c: char| c.is_whitespace() || "-_./:,@()[]{};\"'=#<>|&*+$".contains(c);
    text.split(joins).any(is_mixed) || text.chars().any(|c| !c.is_alphanumeric() && !joins(c))
}

/// Whether a token has capitals and digits, many digits, or capitals inside: `Zz91`, but not `db01`
/// or `Name`.
fn is_mixed(token: &str) -> bool {
    let letters = token.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = token.len() - letters.len();
    let is_lower = letters.chars().all(char::is_lowercase);
    let is_name = letters.chars().all(char::is_uppercase)
        || letters.chars().skip(1).all(|c| c.is_alphabetic() && c.is_lowercase());
    let is_word = (is_lower && digits <= 2) || (is_name && digits == 0);
    let has_all = [char::is_lowercase as fn(char) -> bool, char::is_uppercase, char::is_numeric]
        .iter()
        .all(|class| token.chars().any(class));
    let shortest = if has_all { 3 } else { 4 };
    token.len() >= shortest && !is_word && !(letters.is_empty() && digits < SHORT)
}

/// `eu-west-1` and the like.
fn is_region(text: &str) -> bool {
    const AREAS: [&str; 11] =
        ["us", "us-gov", "eu", "ap", "sa", "ca", "me", "af", "il", "mx", "cn"];
    const SIDES: [&str; 9] = [
        "north",
        "south",
        "east",
        "west",
        "central",
        "northeast",
        "southeast",
        "northwest",
        "southwest",
    ];
    let Some((rest, number)) = text.rsplit_once('-') else { return false };
    let Some((area, side)) = rest.rsplit_once('-') else { return false };
    let is_digit = number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_digit());
    AREAS.contains(&area) && SIDES.contains(&side) && is_digit
}

/// Whether the name of a value says that it is a secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["pass", "pwd", "secret", "token", "key", "credential", "auth"]
        .iter()
        .any(|word| name.contains(word))
}
