//! The examples under the help of each command.

pub(super) const RELEASE: &str = "Examples:
  cdflow release 42
  cdflow release 42 --dry-run";

pub(super) const RELEASES: &str = "Examples:
  cdflow releases
  cdflow releases --all --json";

pub(super) const INSPECT: &str = "Examples:
  cdflow inspect 42
  cdflow inspect 42 --json";

pub(super) const DEPLOY: &str = "Examples:
  cdflow deploy live 42 --plan-only
  cdflow deploy live 42
  cdflow deploy live 42 --allow-destroy aws_s3_bucket.old";

pub(super) const DESTROY: &str = "Examples:
  cdflow destroy ci --plan-only
  cdflow destroy ci --confirm ci";

pub(super) const ROLLBACK: &str = "Examples:
  cdflow rollback live --plan-only
  cdflow rollback live";

pub(super) const STATUS: &str = "Examples:
  cdflow status
  cdflow status --json";

pub(super) const HISTORY: &str = "Examples:
  cdflow history live
  cdflow history live --all --json";

pub(super) const SHELL: &str = "Examples:
  cdflow shell live
  cdflow shell live -- terraform state list";

pub(super) const PRUNE: &str = "Examples:
  cdflow prune --dry-run
  cdflow prune --keep 20 --older-than 30d";

pub(super) const UNLOCK: &str = "Examples:
  cdflow unlock live
  cdflow unlock live --force 6d1f0c2e-8a34-4f2b-9d1c-0a5b7c3e9f10";

pub(super) const HOLD: &str = "Examples:
  cdflow hold ci --pull-request 7";

pub(super) const UNHOLD: &str = "Examples:
  cdflow unhold ci";

pub(super) const ADOPT: &str = "Examples:
  cdflow adopt live 42 --from s3://old-states/shop.tfstate";

pub(super) const COMMENT: &str = "Examples:
  cdflow comment check
  cdflow comment run

Use both in a workflow with the trigger `issue_comment`: docs/comment-commands.md.";

pub(super) const COMMENT_CHECK: &str = "Examples:
  cdflow comment check";

pub(super) const COMMENT_RUN: &str = "Examples:
  cdflow comment run --head 6dcb09b5b57875f334f61aebed695e2e4193db5e";

pub(super) const UNAFFECTED: &str = "Examples:
  cdflow unaffected";

pub(super) const BUILD: &str = "Examples:
  cdflow build
  cdflow build --dev --tag shop:dev";

pub(super) const DOCKERFILE: &str = "Examples:
  cdflow dockerfile
  cdflow dockerfile --write";

pub(super) const DOCTOR: &str = "Examples:
  cdflow doctor
  cdflow doctor live --json";

pub(super) const INIT: &str = "Examples:
  cdflow init --type lambda shop
  cdflow init --type infrastructure --team network dns
  cdflow init --type lambda --account-scheme-url s3://acme-cdflow/account-scheme.json shop";

pub(super) const COMPLETIONS: &str = "Examples:
  cdflow completions bash > ~/.local/share/bash-completion/completions/cdflow
  cdflow completions zsh > ~/.zfunc/_cdflow
  cdflow completions fish > ~/.config/fish/completions/cdflow.fish";

pub(super) const PREVIEW: &str = "Examples:
  cdflow preview up --pull-request 7
  cdflow preview down --pull-request 7
  cdflow preview reap --dry-run";

pub(super) const ALL: &str = "Examples:
  cdflow init --type infrastructure shop
  cdflow release 42
  cdflow deploy live 42 --plan-only

The first one needs no cloud account. `cdflow help COMMAND` has the examples of a command.";

pub(super) const PREVIEW_UP: &str = "Examples:
  cdflow preview up --pull-request 7
  cdflow preview up --pull-request 7 --plan-only";

pub(super) const PREVIEW_DOWN: &str = "Examples:
  cdflow preview down --pull-request 7
  cdflow preview down --pull-request 7 --plan-only";

pub(super) const PREVIEW_REAP: &str = "Examples:
  cdflow preview reap --dry-run";
