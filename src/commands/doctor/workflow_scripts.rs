//! The commands of cdflow in the script of a workflow's step, as the inputs that they are
//! equivalent to.

use serde_json::{Map, Value};

/// The program.
const PROGRAM: &str = "cdflow";
/// The flags that decide what a workflow needs, and whether they have a value.
const FLAGS: [(&str, bool); 4] =
    [("plan-only", false), ("dry-run", false), ("comment", true), ("aws-role-to-assume", true)];
/// Flags with a value that can be before the command.
const BEFORE_COMMAND: [&str; 6] =
    ["-c", "--component", "-C", "--directory", "--terraform-version", "--aws-region"];
/// Commands of which the second word names what they do.
const IN_TWO_WORDS: [&str; 1] = ["preview"];

/// Returns the inputs of each call. A call whose command is not written out has none.
pub(super) fn inputs(script: &str) -> Vec<Value> {
    let joined = script.replace("\\\n", " ");
    let commands = joined.split(['\n', ';', '|', '&', '(', ')', '`']);
    commands.filter_map(|command| of_command(command.trim())).collect()
}

fn of_command(command: &str) -> Option<Value> {
    let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    let is_before = |word: &&str| {
        let is_variable = word.split_once('=').is_some_and(|(name, _)| !name.contains('/'));
        is_variable || ["sudo", "exec", "time", "env", "then", "do", "if", "!"].contains(word)
    };
    let mut words = words.skip_while(is_before);
    let program = words.next()?;
    if program.rsplit('/').next() != Some(PROGRAM) {
        return None;
    }
    let mut inputs = Map::new();
    let mut command: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").filter(|_| word != "--") else {
            if BEFORE_COMMAND.contains(&word) {
                words.next();
            } else if !word.starts_with('-') {
                let is_second = command.first().is_some_and(|it| IN_TWO_WORDS.contains(it));
                if command.is_empty() || (is_second && command.len() == 1) {
                    command.push(word);
                }
            }
            continue;
        };
        let (name, written) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        match FLAGS.iter().find(|(known, _)| *known == name) {
            Some((_, true)) => {
                let value = written.or_else(|| words.next()).unwrap_or_default();
                inputs.insert(name.to_owned(), value.into());
            }
            Some((_, false)) => {
                inputs.insert(name.to_owned(), true.into());
            }
            None if written.is_none() && BEFORE_COMMAND.contains(&word) => {
                words.next();
            }
            None => {}
        }
    }
    (!command.is_empty()).then(|| {
        inputs.insert("command".to_owned(), command.join(" ").into());
        Value::Object(inputs)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_in_a_script() {
        let script = "set -e\nif x; then sudo ./bin/cdflow -C app deploy live \"$VERSION\" \\\n  \
                      --plan-only --comment false; fi\nA=b cdflow preview up --comment=true && \
                      echo cdflow destroy\nout=$(cdflow status --json)\ncdflow --version\n";
        assert_eq!(
            inputs(script),
            [
                json!({"command": "deploy", "plan-only": true, "comment": "false"}),
                json!({"command": "preview up", "comment": "true"}),
                json!({"command": "status"}),
            ]
        );
        for other in ["", "cdflow", "cdflow-post", "make cdflow deploy", "# cdflow deploy live"] {
            assert_eq!(inputs(other), Vec::<Value>::new(), "{other}");
        }
    }
}
