//! Diffs of Terraform's text.

use super::as_diff;
use crate::base::redact::{Redactor, Secret};

fn diff(text: &str, is_replaced: bool) -> String {
    as_diff(text, is_replaced, &str::to_owned)
}

#[test]
fn a_replacement_removes_and_adds_its_values() {
    let text = r#"-/+ resource "a" "b" {
      ~ engine = "14 -> x" -> "16" # forces replacement
      ~ id     = "i" -> (known after apply)
      ~ size   = 1 -> 2
      ~ tags   = {
          ~ "a = b" = "c" -> "d"
        }
      ~ zone   = "a" -> (known after apply) # forces replacement
    }"#;
    let expected = r#"! -/+ resource "a" "b" {
-     engine = "14 -> x"
+     engine = "16" # forces replacement
!     id     = "i" -> (known after apply)
-     size   = 1
+     size   = 2
!     tags   = {
-         "a = b" = "c"
+         "a = b" = "d"
      }
-     zone   = "a"
+     zone   = (known after apply) # forces replacement
  }"#;
    assert_eq!(diff(text, true), expected);
    // A change in place stays on one line.
    assert!(diff(text, false).contains("\n!     size   = 1 -> 2\n"));
}

#[test]
fn unchanged_elements_are_hidden() {
    let text = r#"  ~ resource "a" "b" {
      ~ policy = jsonencode(
          ~ {
              ~ Statement = [
                    {
                        Action = "x"
                        Sid    = "1"
                    },
                  ~ {
                      ~ Action = "y" -> "z"
                    },
                    {
                        Action = "w"
                    },
                ]
            }
        )
      ~ ingress = [
          - {
              - cidr = "10.0.0.0/8"
              - port = 443 -> null
                # (1 unchanged attribute hidden)
            },
          - {
              - secret = (sensitive value)
            },
          + {
              + cidr = "0.0.0.0/0"
              + port = 22
            },
          + {
              + cidr = "10.0.0.0/8"
              + port = 443
            },
          + {
              + secret = (sensitive value)
            },
        ]
    }"#;
    let expected = r#"! resource "a" "b" {
!     policy = jsonencode(
!         {
!             Statement = [
!                 {
!                     Action = "y" -> "z"
                  },
                  # (2 unchanged elements hidden)
              ]
          }
      )
!     ingress = [
-         {
-             secret = (sensitive value)
          },
+         {
+             cidr = "0.0.0.0/0"
+             port = 22
          },
+         {
+             secret = (sensitive value)
          },
          # (1 unchanged element hidden)
      ]
  }"#;
    assert_eq!(diff(text, false), expected);
}

#[test]
fn of_a_long_text_only_what_is_near_a_change_is_shown() {
    let lines = |mark: &str| -> String {
        let line = |number: usize| match number {
            5 => format!("            {mark}"),
            _ => format!("            - key-{number}\n"),
        };
        (0..11).map(line).collect()
    };
    let body =
        lines("- old\n          + - new\n").replace("            - old", "          - - old");
    let text =
        format!("  ~ resource \"a\" \"b\" {{\n      ~ yaml = <<-EOT\n{body}        EOT\n    }}",);
    let expected = r#"! resource "a" "b" {
!     yaml = <<-EOT
          … 3 unchanged lines
          - key-3
          - key-4
-         - old
+         - new
          - key-6
          - key-7
          … 3 unchanged lines
      EOT
  }"#;
    assert_eq!(diff(&text, false), expected);
}

#[test]
fn of_a_long_line_only_the_difference_is_shown() {
    let long = |word: &str| format!("{}{word}{}", "a".repeat(80), "b".repeat(80));
    let text = format!("      ~ url = \"{}\" -> \"{}\"", long("old"), long("new"));
    let (a, b) = ("a".repeat(24), "b".repeat(24));
    assert_eq!(
        diff(&text, false),
        format!("-     url = \"…{a}old{b}…\"\n+     url = \"…{a}new{b}…\"")
    );
    let other = format!("      ~ url = \"{}\" -> \"{}\"", "c".repeat(150), "d".repeat(150));
    assert!(diff(&other, false).starts_with("!     url = "));
}

/// Base64 is compared as the text that it contains, in which a secret is masked.
#[test]
fn base64_is_compared_as_text() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = |port: u16| {
        let lines = |from: u16| (from..from + 8).map(|it| format!("line {it}\n"));
        let middle = format!("password = hunter22\nport = {port}\n");
        STANDARD.encode(lines(0).chain([middle]).chain(lines(8)).collect::<String>())
    };
    let line = format!("      ~ user_data = \"{}\" -> \"{}\"", text(80), text(443));
    let redactor = Redactor::default();
    redactor.add(&Secret::new("hunter22"));
    let masked = |text: &str| redactor.apply(text).into_owned();
    let expected = "!     user_data = base64 of this text:
          … 7 unchanged lines
          line 7
          password = ***
-         port = 80
+         port = 443
          line 8
          line 9
          … 6 unchanged lines";
    assert_eq!(as_diff(&line, false, &masked), expected);
    let binary = STANDARD.encode([0_u8; 40]);
    let line = format!("      ~ zip = \"{binary}\" -> \"{binary}A\"");
    assert!(diff(&line, false).starts_with("!     zip = \"AAAA"));
}
