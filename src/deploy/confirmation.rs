//! The question before an apply, for a person at a terminal.

use super::order::Order;
use crate::{
    base::{
        error::{Error, Result},
        printable, question,
    },
    cli::args::ConfirmInputs,
    config::{identity::Release, names::Environment},
    context::Context,
    services::ci::host::Host,
    terraform::{
        Plan, PlanMode,
        output::{
            changes::{ChangeAction, Changes},
            risk::holds,
        },
    },
};

/// The variable that does the same as `--yes`.
const VARIABLE: &str = "CDFLOW_YES";
/// How many addresses the question names.
const NAMED: usize = 3;

/// Who confirms what a run is to change.
#[derive(Clone, Copy)]
pub(crate) enum Confirmation {
    /// The person at the terminal.
    Asked,
    /// The flag, the variable, or a program that runs cdflow.
    Given,
}

impl Confirmation {
    /// Fails if the variable has another value than yes or no.
    pub(crate) fn of(host: &Host, inputs: &ConfirmInputs) -> Result<Self> {
        let by_variable = match host.environment.get(VARIABLE) {
            Some("1" | "true") => true,
            None | Some("0" | "false") => false,
            Some(other) => {
                return Err(Error::input(format!(
                    "the environment variable {VARIABLE} is `{}`",
                    other.escape_debug()
                ))
                .hint("set it to 1 to apply without a question, or to 0"));
            }
        };
        match inputs.yes || by_variable || !host.has_person() {
            true => Ok(Self::Given),
            false => Ok(Self::Asked),
        }
    }

    pub(crate) fn is_asked(self) -> bool {
        matches!(self, Self::Asked)
    }
}

/// Asks whether to apply the plan, if anyone is to be asked and there is something to change.
/// Fails with `Exit::Refused` unless the answer is yes.
pub(super) async fn confirm(context: &Context, order: &Order<'_>, plan: &Plan) -> Result<()> {
    if !order.asks || !plan.has_changes {
        return Ok(());
    }
    let Release { identity, version } = &order.subject.release;
    let release = format!("{} {version}", identity.component);
    let doing = doing(order.mode, order.is_rollback, &release, order.environment());
    yes(context, &question(order.mode, &doing, &plan.changes)).await
}

/// Asks, and fails with `Exit::Refused` unless the answer is yes.
pub(crate) async fn yes(context: &Context, question: &str) -> Result<()> {
    let Host { log, interrupt, .. } = &context.host;
    match question::ask(&printable::line(question), log, interrupt).await? {
        true => Ok(()),
        false => Err(Error::refused("not confirmed, so nothing was changed")
            .why("the answer to the question was not `y`")
            .hint("run again and answer `y`, or apply without a question: --yes")),
    }
}

/// Returns what an answer allows, such as "Deploy shop 2 to live".
fn doing(mode: PlanMode, is_rollback: bool, release: &str, environment: &Environment) -> String {
    match mode {
        PlanMode::Deploy if is_rollback => format!("Roll {environment} back to {release}"),
        PlanMode::Deploy => format!("Deploy {release} to {environment}"),
        PlanMode::RefreshOnly => {
            format!("Write these changes to the state of {release} in {environment}")
        }
        PlanMode::Destroy => format!("Destroy {release} in {environment}"),
    }
}

/// Returns the question, which names what is destroyed.
fn question(mode: PlanMode, doing: &str, changes: &Changes) -> String {
    if mode == PlanMode::RefreshOnly {
        return format!("{doing}?");
    }
    let is_doomed = |action| matches!(action, ChangeAction::Delete | ChangeAction::Replace);
    let doomed = changes.resources.iter().filter(|it| is_doomed(it.action));
    // Data loss first.
    let (stores, others): (Vec<_>, Vec<_>) =
        doomed.map(|it| (it.label(), holds(&it.kind))).partition(|(_, holds)| holds.is_some());
    let doomed = stores.into_iter().chain(others).map(|(label, holds)| match holds {
        Some(holds) => format!("{label} ({holds})"),
        None => label,
    });
    let doomed: Vec<String> = doomed.collect();
    let others = match doomed.len().saturating_sub(NAMED) {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let named: Vec<String> = doomed.into_iter().take(NAMED).collect();
    let named = named.join(", ");
    match (named.is_empty(), mode) {
        (true, _) => format!("{doing}?"),
        (false, PlanMode::Destroy) => format!("{doing}: {named}{others}?"),
        (false, _) => format!("{doing}, which destroys {named}{others}?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::output::changes::ResourceChange;

    fn asked(mode: PlanMode, changes: &[(&str, ChangeAction)]) -> String {
        let change = |(address, action): &(&str, ChangeAction)| ResourceChange {
            address: (*address).to_owned(),
            moved_from: None,
            is_import: false,
            kind: address.split('.').next().unwrap().to_owned(),
            action: *action,
            deposed: None,
            reason: None,
            identity: Default::default(),
            risk: Default::default(),
        };
        let resources = changes.iter().map(change).collect();
        let doing = doing(mode, false, "shop 2", &"live".parse().unwrap());
        question(mode, &doing, &Changes { resources, ..Changes::default() })
    }

    #[test]
    fn what_is_destroyed_is_named() {
        use ChangeAction::{Create, Delete, Forget, Replace, Update};
        let question = |changes: &[(&str, ChangeAction)]| asked(PlanMode::Deploy, changes);
        assert_eq!(
            question(&[("a.a", Create), ("a.b", Update), ("a.c", Forget)]),
            "Deploy shop 2 to live?"
        );
        assert_eq!(
            question(&[("a.a", Create), ("a.b", Delete)]),
            "Deploy shop 2 to live, which destroys a.b?"
        );
        let five = ["a", "b", "c", "d", "e"].map(|name| (name, Replace));
        assert_eq!(question(&five), "Deploy shop 2 to live, which destroys a, b, c and 2 more?");
        assert_eq!(
            question(&[("a.a", Delete), ("aws_s3_bucket.b", Delete), ("a.c", Replace)]),
            "Deploy shop 2 to live, which destroys aws_s3_bucket.b (bucket), a.a, a.c?"
        );
        let destroy = asked(PlanMode::Destroy, &[("a.a", Delete), ("a.b", Delete)]);
        assert_eq!(destroy, "Destroy shop 2 in live: a.a, a.b?");
        assert_eq!(asked(PlanMode::Destroy, &[]), "Destroy shop 2 in live?");
        let refresh = asked(PlanMode::RefreshOnly, &[("a.a", Delete)]);
        assert_eq!(refresh, "Write these changes to the state of shop 2 in live?");
        let back = doing(PlanMode::Deploy, true, "shop 1", &"live".parse().unwrap());
        assert_eq!(back, "Roll live back to shop 1");
    }
}
