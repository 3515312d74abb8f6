//! Awkward secrets, and how programs print them. Also used by
//! `tests/integration/secret_sinks.rs`.

use base64::{Engine, engine::general_purpose::STANDARD};

/// Each with the part that must not show.
pub(crate) fn corpus() -> Vec<(String, String)> {
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
pub(crate) fn printed(part: &str) -> Vec<String> {
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
