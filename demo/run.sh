#!/bin/sh
# `make demo`: the life of a component with a local account scheme. It needs no AWS account, and removes everything it wrote.
# It needs a network only if Terraform is not in PATH: cdflow then downloads it.
set -eu
cd "$(dirname "$0")/.."

echo 'make demo: needs Rust, a C compiler and git; the first build takes about five minutes on 2 cores, later ones seconds'
lacks() {
    printf 'make demo: %s is missing\n  -> install it: %s\n' "$1" "$2" >&2
    exit 1
}
needs() {
    command -v "$1" >/dev/null 2>&1 || lacks "$1" "$2"
}
needs cargo https://rustup.rs
echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null ||
    lacks 'a C compiler' 'apt-get install gcc libc6-dev'
needs git 'apt-get install git'
command -v terraform >/dev/null 2>&1 ||
    echo "make demo: Terraform is not in PATH: cdflow downloads it from ${CDFLOW_TERRAFORM_MIRROR:-releases.hashicorp.com}"
cargo build --locked
binary=${CARGO_TARGET_DIR:-target}/debug/cdflow
case $binary in /*) ;; *) binary=$PWD/$binary ;; esac

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cp -R examples/infrastructure-component "$place/greeting"
cd "$place/greeting"

# Nothing of the person's own set-up takes part: no credentials, no Terraform configuration, no git identity.
mkdir "$place/home" "$place/tmp"
: >"$place/terraform.rc"
export HOME="$place/home" TMPDIR="$place/tmp" TF_CLI_CONFIG_FILE="$place/terraform.rc" CHECKPOINT_DISABLE=1
# It is watched, not answered.
export CDFLOW_YES=1
unset TF_WORKSPACE TF_DATA_DIR TF_CLI_ARGS GITHUB_ACTIONS GITHUB_REPOSITORY RUNNER_TOOL_CACHE XDG_CACHE_HOME

say() { printf '\n# %s\n' "$*"; }
cdflow() {
    printf '\n$ cdflow %s\n' "$*"
    "$binary" "$@"
}
commit() {
    git add --all
    git -c user.name=demo -c user.email=demo@example.com commit --quiet --message "$1"
}

git init --quiet --initial-branch main
commit 'A greeting'

say 'Build once: release 1 holds everything a deployment needs.'
cdflow release 1 --platform-config platform-config
say 'Deploy it.'
cdflow deploy ci 1
cdflow status

say 'Change the configuration, release again, and deploy: the plan shows the change.'
sed -i.orig 's/"Hello"/"Good morning"/' config/common.json
rm config/common.json.orig
commit 'Greet politely'
cdflow release 2 --platform-config platform-config
cdflow deploy ci 2
cdflow status

say 'Take it down. `ci` is named in the account scheme, so its name is asked for once more.'
cdflow destroy ci --confirm ci
cdflow status
