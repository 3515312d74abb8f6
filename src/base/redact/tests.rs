//! Both directions: nothing secret is left, and nothing true is garbled.

use super::{
    corpus::{corpus, printed},
    *,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{collection::vec, strategy::Strategy};

fn redactor(secrets: &[&str]) -> Redactor {
    let redactor = Redactor::default();
    for secret in secrets {
        redactor.add(&Secret::new(*secret));
    }
    redactor
}

#[test]
fn the_longest_goes_first() {
    assert_eq!(redactor(&["pass", "password123"]).apply("a password123 b pass"), "a *** b ***");
}

#[test]
fn empty_and_short_values_mask_nothing() {
    let redactor = Redactor::default();
    assert!(
        !redactor.add(&Secret::new(""))
            && !redactor.add(&Secret::new("abc"))
            && !redactor.add(&Secret::new("    "))
    );
    assert_eq!(redactor.apply("abc"), "abc");
}

#[test]
fn every_spelling() {
    let redactor = redactor(&["s3cr\"t <&> ${x}\ns3cond-Line of it"]);
    for printed in [
        "s3cr\"t <&> ${x}",
        r#""s3cr\"t <&> ${x}\ns3cond-Line of it""#,
        r#"s3cr\"t \u003c\u0026\u003e ${x}"#,
        r#"s3cr\"t <&> $${x}"#,
        "s3cond-Line of it",
        "s3cr%22t%20%3C%26%3E%20%24%7Bx%7D",
        "czNjciJ0IDwmPiAke3h9CnMzY29uZC1MaW5lIG9mIGl0",
        "s3cr%22t+%3C%26%3E+%24%7Bx%7D",
        // The base64 of JSON that has it, as for Docker and Kubernetes, and of a part of a URL.
        "eyJwIjoiczNjclwidCBcdTAwM2NcdTAwMjZcdTAwM2UgJHt4fVxuczNjb25kLUxpbmUgb2YgaXQifQ==",
        "czNjciUyMnQrJTNDJTI2JTNFKyUyNCU3QnglN0QlMEFzM2NvbmQtTGluZStvZitpdA==",
        "73:33:63:72:22:74:20:3c:26:3e:20:24:7b:78:7d:0a:73:33:63:6f:6e:64:2d:4c:69:6e:65:20:\
         6f:66:20:69:74",
    ] {
        let masked = redactor.apply(printed);
        assert!(
            ["s3cr", "s3cond", "czNj", "73:33:63"].iter().all(|it| !masked.contains(it))
                && masked.contains(MASK),
            "{printed} -> {masked}"
        );
    }
}

/// Escaped once more, a value that looks escaped is found as well.
#[test]
fn a_value_that_looks_escaped() {
    for secret in ["grey%%{>a", "grey&lt;b\"x", "grey$${<\\n>}y", "grey\\u0041\"z"] {
        let redactor = redactor(&[secret]);
        for form in printed(secret) {
            let masked = redactor.apply(&form);
            assert!(!shows(&masked, secret) && !redactor.finds(&masked), "{form} -> {masked}");
        }
    }
}

#[test]
fn base64_at_any_offset() {
    let secret = "correct-horse-battery\n";
    let redactor = redactor(&[secret]);
    for before in ["", "u", "us", "user:", "a longer prefix "] {
        for after in ["", "x", "yz", "and more"] {
            let encoded = STANDARD.encode(format!("{before}{secret}{after}"));
            let masked = redactor.apply(&encoded).into_owned();
            let left = encoded.len() - masked.replace(MASK, "").len();
            assert!(
                masked.contains(MASK) && left + 4 >= secret.len() * 8 / 6,
                "{before} {after}: {encoded} -> {masked}"
            );
        }
    }
}

#[test]
fn debug_shows_nothing() {
    assert_eq!(format!("{:?}", Secret::new("hunter2hunter2")), "***");
}

/// Whether enough of `part` is left to be read, whatever the spelling.
fn shows(masked: &str, part: &str) -> bool {
    let plain = |text: &str| text.replace(['\u{200b}'], "").replace("\u{1b}[0m", "");
    plain(masked).contains(part) || !masked.contains(MASK)
}

#[test]
fn forty_awkward_secrets_in_every_form() {
    let corpus = corpus();
    assert_eq!(corpus.len(), 40);
    let mut hits = Vec::new();
    for (value, part) in &corpus {
        let redactor = redactor(&[value]);
        for form in printed(part) {
            let masked = redactor.apply(&form);
            if shows(&masked, part) || redactor.finds(&masked) {
                hits.push(format!("{value:.60} as {form:.80} -> {masked:.80}"));
            }
        }
    }
    assert!(hits.is_empty(), "{} hits:\n{}", hits.len(), hits.join("\n"));
}

#[test]
fn words_names_and_small_numbers_stay() {
    let script = "if true; then\n  main\nfi\nprod\nthen\nadmin";
    let leaves = r#"{"a":"then","b":"main","c":"prod","d":"admin","e":true,"f":5432,"g":"app-user",
        "h":"eu-west-1","i":"postgres","j":"db.internal","password":"admin"}"#;
    let redactor = redactor(&[script, leaves, "checkout", "1.2.3-a1b2c3d4", "live"]);
    redactor.add_guess(&Secret::new("platform"));
    redactor.add_guess(&Secret::new("hunter-Zz91-pw"));
    redactor.never_mask("checkout");
    redactor.never_mask("1.2.3-a1b2c3d4");
    let text = "authentication of the main admin in prod, then 5432: https://checkout.example.com \
                s3://b/platform/checkout/1.2.3-a1b2c3d4.zip eu-west-1 live app-user db.internal";
    assert_eq!(redactor.apply(text), text);
    assert_eq!(redactor.apply("x hunter-Zz91-pw"), "x ***");
}

#[test]
fn an_endless_line_is_never_cut_in_a_secret() {
    let redactor = redactor(&["hunter-Zz91-pw"]);
    for at in [100_000 - OVERLAP - 7, 100_000 - OVERLAP, 100_000 - 20, 100_000 - 7] {
        let line = format!("{}hunter-Zz91-pw{}", "x".repeat(at), "y".repeat(40_000));
        let cut = redactor.safe_cut(&line[..100_000]);
        let (first, rest) = line.split_at(cut);
        let both = [redactor.apply(first), redactor.apply(rest)].concat();
        assert!(cut > 0 && !both.contains("Zz91") && both.contains(MASK), "{at}: {cut}");
    }
}

#[test]
fn a_cut_separates_no_escape_and_no_word() {
    let redactor = redactor(&["walrus"]);
    // The position of the cut that must not be made.
    for (text, at) in [("\\nwalrus", 1), ("abcwalrus", 3), ("walruses", 6)] {
        let before = "abc ".repeat(4_000);
        let after = " abc".repeat((OVERLAP + at - text.len()) / 4 + 1);
        let line = format!("{before}{text}{after}");
        let line = &line[..before.len() + at + OVERLAP];
        let (first, rest) = line.split_at(redactor.safe_cut(line));
        let both = [redactor.apply(first), redactor.apply(rest)].concat();
        assert!(both == redactor.apply(line), "{text}");
    }
}

#[test]
fn a_secret_across_two_windows() {
    let redactor = redactor(&["hunter-Zz91-pw"]);
    let text = format!("{}hunter-Zz91-pw{}", "x".repeat(WINDOW - 7), "y".repeat(WINDOW));
    assert_eq!(redactor.apply(&text), text.replace("hunter-Zz91-pw", MASK));
}

#[test]
fn what_leaves_is_masked_and_checked() {
    let redactor = redactor(&["hunter-Zz91-pw"]);
    assert_eq!(redactor.leaving("the comment", "a hunter-Zz91-pw b").unwrap(), "a *** b");
}

/// Pieces of text that no secret of the tests below contains, each complete.
const TOKENS: [&str; 18] = [
    "a ",
    "\n",
    "\\n",
    "%41",
    "\u{1b}[1m",
    "\u{1b}[0m",
    "\u{e9}",
    "{\"k\": \"",
    "\"}",
    "\u{2502} ",
    "abc",
    "==",
    "/",
    "&lt;",
    "\\u003c",
    "\u{200b}",
    "$${",
    "12",
];

fn tokens(most: usize) -> impl Strategy<Value = String> {
    let one = proptest::sample::select(&TOKENS[..]);
    vec(one, 0..most).prop_map(|all| all.concat())
}

/// What is left when `text` comes in pieces and its line never ends.
fn streamed(redactor: &Redactor, text: &str, pieces: &[usize], longest: usize) -> String {
    let (mut line, mut passed, mut rest) = (String::new(), String::new(), text);
    for piece in pieces.iter().cycle() {
        let (next, more) = rest.split_at(rest.ceil_char_boundary((*piece).min(rest.len())));
        line.push_str(next);
        rest = more;
        if line.len() >= longest {
            let kept = line.split_off(redactor.safe_cut(&line));
            passed.push_str(&redactor.apply(&line));
            line = kept;
        }
        if rest.is_empty() {
            break;
        }
    }
    passed + &redactor.apply(&line)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn text_without_the_secret_stays(
        secrets in vec("[q-zQ-Z5-9]{4,40}|[q-z]{4,11}|[q-z]{3} [q-z]{4}", 1..5),
        text in tokens(200),
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        proptest::prop_assert_eq!(redactor(&secrets).apply(&text), text.as_str());
    }

    #[test]
    fn every_form_is_masked_whatever_surrounds_it(
        secret in "[a-z]{3}[A-Z0-9]{3}[ -~]{4,30}[a-z]",
        before in tokens(12),
        after in tokens(12),
        form in 0_usize..15,
    ) {
        let redactor = redactor(&[&secret]);
        let text = format!("{before}{}{after}", printed(&secret)[form]);
        let masked = redactor.apply(&text);
        let is_hidden = !shows(&masked, &secret) && !redactor.finds(&masked);
        proptest::prop_assert!(is_hidden, "{text} -> {masked}");
        let around = format!("kept {text} kept");
        let masked = redactor.apply(&around);
        let is_kept = masked.starts_with("kept ") && masked.ends_with(" kept");
        proptest::prop_assert!(is_kept, "{around} -> {masked}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(8))]

    #[test]
    fn a_stream_in_pieces_is_masked_as_the_whole(
        secrets in vec("[q-z]{4,11}|[a-z]{3}[A-Z0-9]{3}[ -~]{4,400}[a-z]", 1..4),
        parts in vec((tokens(300), 0_usize..4, 0_usize..11), 60..90),
        pieces in vec(1_usize..9_000, 1..9),
    ) {
        let known: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let redactor = redactor(&known);
        let part = |(text, secret, form): &(String, usize, usize)| {
            let secret = &secrets[secret % secrets.len()];
            format!("{text}{}", printed(secret)[*form])
        };
        let text: String = parts.iter().map(part).collect();
        let whole = redactor.apply(&text).replace("******", MASK);
        let stream = streamed(&redactor, &text, &pieces, 2 * OVERLAP);
        proptest::prop_assert_eq!(stream.replace("******", MASK), whole);
    }
}

#[test]
fn short_secrets_are_masked_as_whole_words() {
    for (secret, text, shown) in [
        ("a b c", "x = a b c;", "x = ***;"),
        ("日本", "in 日本!", "in ***!"),
        ("481516", "a481516b", "a***b"),
        ("4815", "port 4815, not 148150", "port ***, not 148150"),
        ("wombat", "A_wombat, two wombats", "A_***, two wombats"),
    ] {
        let redactor = Redactor::default();
        assert!(redactor.add(&Secret::new(secret)));
        assert_eq!(redactor.apply(text), shown);
    }
}
