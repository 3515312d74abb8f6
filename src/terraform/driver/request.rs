//! The request for a plan, and the arguments of `terraform plan` and `apply`.

use std::path::PathBuf;

use crate::{config::duration::HumanDuration, terraform::code::origins::ValueOrigins};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlanMode {
    Deploy,
    RefreshOnly,
    Destroy,
}

/// The options of a plan, which its apply needs again.
pub(crate) struct PlanRequest {
    pub(crate) mode: PlanMode,
    pub(crate) var_file: PathBuf,
    pub(crate) plan_file: PathBuf,
    pub(crate) targets: Vec<String>,
    pub(crate) replace: Vec<String>,
    pub(crate) lock_timeout: Option<HumanDuration>,
    pub(crate) parallelism: Option<u32>,
    /// There are ephemeral variables. A plan does not contain them, so apply needs the var-file
    /// again.
    pub(crate) has_ephemeral: bool,
    pub(crate) origins: ValueOrigins,
    /// Whether Terraform's JSON of the plan is wanted.
    pub(crate) wants_json: bool,
}

impl PlanRequest {
    /// Whether it is about all resources, and about the code.
    pub(super) fn is_of_everything(&self) -> bool {
        self.mode == PlanMode::Deploy && self.targets.is_empty() && self.replace.is_empty()
    }
}

pub(super) fn plan_args(request: &PlanRequest) -> Vec<String> {
    let mut args =
        vec!["plan".to_owned(), "-input=false".to_owned(), "-detailed-exitcode".to_owned()];
    args.push(format!("-out={}", request.plan_file.display()));
    args.push(format!("-var-file={}", request.var_file.display()));
    args.extend(common_args(request));
    args.extend(request.targets.iter().map(|address| format!("-target={address}")));
    args.extend(request.replace.iter().map(|address| format!("-replace={address}")));
    match request.mode {
        PlanMode::Deploy => {}
        PlanMode::RefreshOnly => args.push("-refresh-only".to_owned()),
        PlanMode::Destroy => args.push("-destroy".to_owned()),
    }
    args
}

pub(super) fn apply_args(request: &PlanRequest) -> Vec<String> {
    let mut args = vec!["apply".to_owned(), "-input=false".to_owned(), "-json".to_owned()];
    args.extend(common_args(request));
    if request.has_ephemeral {
        args.push(format!("-var-file={}", request.var_file.display()));
    }
    args.push(request.plan_file.display().to_string());
    args
}

fn common_args(request: &PlanRequest) -> Vec<String> {
    let timeout = request.lock_timeout.map(|wait| format!("-lock-timeout={wait}"));
    let parallelism = request.parallelism.map(|n| format!("-parallelism={n}"));
    timeout.into_iter().chain(parallelism).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let request = PlanRequest {
            mode: PlanMode::Destroy,
            var_file: "/p/v.json".into(),
            plan_file: "/p/plan".into(),
            targets: vec!["a.b".into()],
            replace: vec!["c.d".into()],
            lock_timeout: Some("5m".parse().unwrap()),
            parallelism: Some(3),
            has_ephemeral: true,
            origins: ValueOrigins::default(),
            wants_json: false,
        };
        assert_eq!(
            plan_args(&request).join(" "),
            "plan -input=false -detailed-exitcode -out=/p/plan -var-file=/p/v.json \
             -lock-timeout=300s -parallelism=3 -target=a.b -replace=c.d -destroy"
        );
        assert_eq!(
            apply_args(&request).join(" "),
            "apply -input=false -json -lock-timeout=300s -parallelism=3 -var-file=/p/v.json /p/plan"
        );
    }
}
