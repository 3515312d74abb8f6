//! The Dockerfile that cdflow generates for a function.

use super::{
    Profile,
    code::{Code, FUNCTIONS, LIB},
};

/// The folder of the service in a build image.
const SERVICE: &str = "/app-build";
/// The name of the binary that a build image compiles. In roche's images it is also the package.
const BINARY: &str = "roche-service";
const USER: &str = "rocheuser";
const USER_ID: u32 = 10001;

/// Returns the Dockerfile. If the runtime image has no shell, the binary is started directly.
pub(crate) fn text(
    code: &Code,
    profile: Profile,
    build: &str,
    runtime: &str,
    has_no_shell: bool,
) -> String {
    let release = match profile {
        Profile::Release => " --release",
        Profile::Dev => "",
    };
    let mut sources = vec![FUNCTIONS];
    sources.extend(code.has_lib.then_some(LIB));
    let touched: Vec<String> =
        ["main.rs"].iter().chain(&sources).map(|name| format!("src/{name}")).collect();
    let environment: &[String] = match profile {
        Profile::Release => &[],
        Profile::Dev => &code.environment_files,
    };
    let is_tested = code.has_lib && profile == Profile::Release;
    let touch = format!("touch {} && \\\n    ", touched.join(" "));
    let [mut dependencies, mut compile] = [String::new(), String::new()];
    dependencies += &format!("cargo build{release}");
    if is_tested {
        dependencies += &format!(" && cargo test --lib{release} --no-run");
        compile += &format!("RUN {touch}cargo test --lib{release}\n");
    }
    let output = output(profile);
    // Removes the old binary, so that `test -x` fails if the build image uses another target
    // folder.
    compile += &format!(
        "RUN {touch}rm -f {output} && cargo build{release} && {}",
        needs(&["-x"], &[&output])
    );
    let copied: Vec<&str> =
        sources.iter().copied().chain(environment.iter().map(String::as_str)).collect();
    let mut stages = format!(
        "FROM {build} AS dependencies
WORKDIR {SERVICE}
RUN {check}
# Without the function, so that this layer is rebuilt only if the build image changes.
RUN {dependencies} || \\
    echo \"cdflow: the build image does not compile without a function,\" \\
        \"so every build might compile the dependencies again\"; \\
    cargo clean{release} -p \"$(cargo pkgid || echo {BINARY})\" || true

FROM dependencies AS build
COPY {copied} src/
# Copied files can look older than the build output, and cargo would skip them. touch runs in the
# step that compiles, because the classic builder keeps times in whole seconds.
{compile}

FROM {runtime}
",
        check = needs(&["-f", "-f", "-x"], &["Cargo.toml", "src/main.rs", "run.sh"]),
        copied = copied.join(" "),
    );
    if !has_no_shell {
        stages += &format!(
            "USER 0
# Without adduser: Alpine and Debian have different versions, and some images have none.
RUN echo \"{USER}:x:{USER_ID}:\" >>/etc/group && \\
    echo \"{USER}:x:{USER_ID}:{USER_ID}::/app:/sbin/nologin\" >>/etc/passwd
"
        );
    }
    let script = (!has_no_shell).then_some("run.sh".to_owned());
    let kept = script.into_iter().chain(["Cargo.toml".to_owned(), output]);
    let kept = kept.chain(environment.iter().map(|name| format!("src/{name}")));
    let kept: Vec<String> = kept.map(|name| format!("{SERVICE}/{name}")).collect();
    let start = if has_no_shell { BINARY } else { "run.sh" };
    stages
        + &format!(
            "WORKDIR /app
COPY --from=build --chown={USER_ID}:{USER_ID} {kept} ./
# By number, so that a platform can check that it is not root.
USER {USER_ID}:{USER_ID}
ENV PORT=8080
EXPOSE 8080
CMD [\"./{start}\"]
",
            kept = kept.join(" ")
        )
}

fn output(profile: Profile) -> String {
    let folder = match profile {
        Profile::Release => "release",
        Profile::Dev => "debug",
    };
    format!("target/{folder}/{BINARY}")
}

/// Returns shell code that reports a missing file of the build image, which is clearer than a
/// failed copy.
fn needs(tests: &[&str], files: &[&str]) -> String {
    let test = |(test, file): (&&str, &&str)| {
        let what = if *test == "-x" { "executable " } else { "" };
        format!(
            "{{ test {test} {file} || \
             {{ echo \"cdflow: the build image has no {what}{SERVICE}/{file}\"; exit 1; }}; }}"
        )
    };
    tests.iter().zip(files).map(test).collect::<Vec<_>>().join(" && \\\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(has_lib: bool, environment: &[&str]) -> Code {
        let environment_files = environment.iter().map(|name| (*name).to_owned()).collect();
        Code { folder: "/c".into(), has_lib, environment_files }
    }

    fn lines(text: &str, of: &str) -> Vec<String> {
        text.lines().filter(|line| line.starts_with(of)).map(str::to_owned).collect()
    }

    #[test]
    fn of_a_release() {
        let text = text(&code(true, &[".env"]), Profile::Release, "quay.io/b:1", "alpine:3", false);
        assert_eq!(
            lines(&text, "FROM"),
            ["FROM quay.io/b:1 AS dependencies", "FROM dependencies AS build", "FROM alpine:3"]
        );
        assert_eq!(
            lines(&text, "COPY"),
            [
                "COPY functions.rs lib.rs src/",
                "COPY --from=build --chown=10001:10001 /app-build/run.sh /app-build/Cargo.toml \
                 /app-build/target/release/roche-service ./"
            ]
        );
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no `{what}` in\n{text}"));
        let touch = "RUN touch src/main.rs src/functions.rs src/lib.rs && \\\n    ";
        let compile = "rm -f target/release/roche-service && cargo build --release && {";
        let steps =
            ["cargo test --lib --release\n", compile].map(|step| at(&format!("{touch}{step}")));
        assert!(steps[0] < steps[1]);
        assert!(at("|| \\\n    echo") < at("cargo clean --release -p"));
        assert!(at("cargo clean") < at("COPY functions.rs"));
        assert!(
            at("USER 10001:10001") < at("CMD [\"./run.sh\"]")
                && at("WORKDIR /app\n") > at("ENV PORT=8080") - 500
        );
        assert!(!text.contains(".env") && text.contains("EXPOSE 8080"));
    }

    #[test]
    fn without_tests_none_run() {
        for (has_lib, profile) in [(false, Profile::Release), (true, Profile::Dev)] {
            let text = text(&code(has_lib, &[]), profile, "b", "r", false);
            assert!(!text.contains("cargo test"), "{text}");
        }
    }

    #[test]
    fn of_a_developer() {
        let text = text(&code(false, &[".env", ".env.local"]), Profile::Dev, "b", "r", false);
        assert!(!text.contains("--release"), "{text}");
        assert_eq!(
            lines(&text, "COPY"),
            [
                "COPY functions.rs .env .env.local src/",
                "COPY --from=build --chown=10001:10001 /app-build/run.sh /app-build/Cargo.toml \
                 /app-build/target/debug/roche-service /app-build/src/.env \
                 /app-build/src/.env.local ./"
            ]
        );
    }

    #[test]
    fn nothing_runs_in_an_image_without_a_shell() {
        let text = text(&code(false, &[]), Profile::Release, "b", "scratch", true);
        let runtime = &text[text.find("FROM scratch").unwrap()..];
        assert!(!runtime.contains("RUN") && !runtime.contains("run.sh"), "{runtime}");
        assert!(runtime.ends_with("CMD [\"./roche-service\"]\n"), "{runtime}");
    }
}
