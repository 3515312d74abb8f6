//! Both directions: nothing secret is left, and nothing true is garbled.

use super::*;
use base64::{Engine, engine::general_purpose::STANDARD};

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
    ] {
        let masked = redactor.apply(printed);
        assert!(
            !masked.contains("s3cr") && !masked.contains("s3cond") && masked.contains(MASK),
            "{printed} -> {masked}"
        );
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

/// Each with the part that must not show.
fn corpus() -> Vec<(String, String)> {
    let pairs = [
        (r#"{"user":"app-user","password":"winter-Kx47-go"}"#, "winter-Kx47-go"),
        (r#"{"a":{"b":["x",{"c":"summer24"}]}}"#, "summer24"),
        (r#"{"inner":"{\"deep\":\"blue$ocean\"}"}"#, "blue$ocean"),
        (r#"["first-E1ement","Harbour2019"]"#, "Harbour2019"),
        (r#""night@train""#, "night@train"),
        (r#"{"db_pass":"moonbeam"}"#, "moonbeam"),
        ("postgres://app:m0nday-rain@db:5432/x", "m0nday-rain"),
        ("API_KEY=kite9flies\nMODE=prod", "kite9flies"),
        ("token: CamelHumpBack\nname: x", "CamelHumpBack"),
        ("seven green owls under a bridge", "seven green owls under a bridge"),
        ("a<b>&c\"d'e-Xy12", "a<b>&c\"d'e-Xy12"),
        ("%0A::set-output-Xy1", "%0A::set-output-Xy1"),
        ("back\\slash-Xy12\\n", "back\\slash-Xy12\\n"),
        ("${var.x}%{if}-Xy12", "${var.x}%{if}-Xy12"),
        ("t\u{e4}st-\u{1f511}-Xy12z", "t\u{e4}st-\u{1f511}-Xy12z"),
        ("  padded-Xy12-value  ", "padded-Xy12-value"),
        ("tab\tin-Xy12-it", "tab\tin-Xy12-it"),
        ("a+b/c==Xy12", "a+b/c==Xy12"),
        ("!@#$%^&*()", "!@#$%^&*()"),
        ("`backtick`-Xy12", "`backtick`-Xy12"),
        ("-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----", "MIIEvQIBADANBg"),
        ("one-Xy12-line\rtwo-Xy34-line\r", "two-Xy34-line"),
        ("crlf-Xy12-line\r\nnext-Xy34-line\r\n", "next-Xy34-line"),
        ("***Xy12***masks", "***Xy12***masks"),
        ("walrus", "walrus"),
        ("b4nana!", "b4nana!"),
        ("quiet otter", "quiet otter"),
        ("12345678", "12345678"),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        ("$2b$12$KIXQ4S6o0kq3yLQ", "$2b$12$KIXQ4S6o0kq3yLQ"),
        ("eyJhbGciOiJIUzI1NiJ9.e30.Et9HFtf9R3GEM", "eyJhbGciOiJIUzI1NiJ9.e30.Et9HFtf9R3GEM"),
        ("<!-- comment-Xy12 -->", "<!-- comment-Xy12 -->"),
        ("| pipe-Xy12 | table |", "| pipe-Xy12 | table |"),
        ("EOT\nEOT-Xy12-EOT", "EOT-Xy12-EOT"),
        ("[31mred-Xy12-text", "[31mred-Xy12-text"),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("\u{5bc6}\u{7801}\u{5bc6}\u{7801}", "\u{5bc6}\u{7801}\u{5bc6}\u{7801}"),
        (r#"{"n": 123456789012345}"#, "123456789012345"),
    ];
    let mut all: Vec<_> = pairs.map(|(value, part)| (value.to_owned(), part.to_owned())).into();
    let long = |n: usize| (0..n).map(|i| format!("{:x}", i * 7919 % 65_521)).collect::<String>();
    all.extend([300, 16_000].map(|n| (long(n), long(n))));
    all
}

/// How programs print a part of a secret.
fn printed(part: &str) -> Vec<String> {
    let json = serde_json::Value::from(part).to_string();
    let go = json.replace('<', r"\u003c").replace('>', r"\u003e").replace('&', r"\u0026");
    let percent: String = part.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hex: String = part.bytes().map(|byte| format!("{byte:02x}")).collect();
    let every = |mark: &str| part.chars().map(|c| format!("{c}{mark}")).collect::<String>();
    let wrapped = part.replace(' ', "\n\u{2502} ");
    let mut all = vec![
        format!("<{part}>"),
        serde_json::Value::from(go.as_str()).to_string(),
        serde_json::Value::from(serde_json::Value::from(json.as_str()).to_string()).to_string(),
        go,
        json.replace("${", "$${").replace("%{", "%%{"),
        json,
        format!("{part:?}"),
        percent,
        every("\u{1b}[0m"),
        every("\u{200b}"),
        wrapped,
    ];
    if part.len() >= 8 {
        all.extend([hex.to_uppercase(), hex, STANDARD.encode(part)]);
        all.push(STANDARD.encode(format!("user:{part}:end")));
    }
    all
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
        assert!(cut > 0 && !both.contains("walrus") && both.contains(MASK), "{at}: {cut}");
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

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_masked_is_secret_and_what_is_secret_is_masked(
        secret in "[a-z]{3}[A-Z0-9]{3}[ -~]{4,30}[a-z]",
        words in "([a-z]{1,12} ){0,12}",
        form in 0_usize..11,
    ) {
        let redactor = redactor(&[&secret]);
        let forms = printed(&secret);
        let text = format!("{words}\n{}\n{words}", forms[form]);
        let masked = redactor.apply(&text);
        proptest::prop_assert!(!shows(&masked, &secret), "{masked}");
        proptest::prop_assert!(masked.starts_with(&words) && masked.ends_with(&words));
        proptest::prop_assert_eq!(redactor.apply(&words), words.as_str());
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
