//! How Terraform is downloaded: through a company's network, and when the download is odd or cut.

use crate::support::{Company, Fault, Runner, Sandbox, archive_name};
use crate::terraform_versions::Bare;
use nix::sys::signal::Signal;
use std::fs;
use std::time::Duration;

const MIRROR: &str = "https://ghes.test";

fn behind(company: &Company, run: Runner) -> Runner {
    run.env("HTTPS_PROXY", format!("http://127.0.0.1:{}", company.proxy()))
        .env("CDFLOW_TERRAFORM_MIRROR", MIRROR)
        .env("CDFLOW_LIMITS", "tool-answer=5s,tool-download=5s")
}

#[test]
fn a_mirror_of_a_company_is_reached() {
    let bare = Bare::new("company");
    let server = bare.mirror.serve();
    let company = Company::start(bare.project.sandbox(), server.address());
    let release = || behind(&company, bare.releasing("1"));
    release()
        .run()
        .fails(10)
        .stderr_has("the certificate of the server is signed by an unknown authority");
    assert!(bare.cached().is_empty());

    let trusting = || release().arg("--ca-certificates").arg(company.authority());
    // What came encrypted is not fetched in the clear, wherever the mirror sends it.
    let other = bare.mirror.serve();
    let zip = archive_name("terraform", "1.12.0");
    let path = format!("terraform/1.12.0/{zip}");
    server.fault(&zip, Fault::Redirect(format!("{}/{path}", other.address())));
    trusting().run().fails(10).stderr_has(&format!("cannot download `{MIRROR}/{path}`"));
    assert_eq!(other.asked(""), [""; 0]);
    assert!(bare.cached().is_empty());

    let server = bare.mirror.serve();
    let sandbox = Sandbox::new();
    let company = Company::start(&sandbox, server.address());
    let run = behind(&company, bare.releasing("1")).arg("--ca-certificates");
    run.arg(company.authority()).run().success().stderr_has("terraform 1.12.0 from the mirror");
    assert_eq!(server.asked(&zip).len(), 1);
    assert!(company.asked().iter().all(|host| host == "ghes.test:443"), "{:?}", company.asked());
    assert_eq!(bare.cached().len(), 1);
}

#[test]
fn sums_that_are_too_large_are_not_read() {
    let bare = Bare::new("large");
    let folder = bare.mirror.version("terraform", "1.12.0");
    let sums = "0".repeat(2 << 20);
    fs::write(folder.join("terraform_1.12.0_SHA256SUMS"), sums).unwrap();
    let server = bare.mirror.serve();
    bare.served(&server).run().fails(9).stderr_has("SHA256SUMS` has more than 1.0 MB");
    assert!(bare.cached().is_empty());
}

#[test]
fn a_long_download_is_shown() {
    let bare = Bare::new("long");
    let server = bare.mirror.serve();
    server.fault(".zip", Fault::Stall(Duration::from_secs(17)));
    let output = bare.served(&server).run();
    let size = bare.mirror.version("terraform", "1.12.0").join(archive_name("terraform", "1.12.0"));
    let size = fs::metadata(size).unwrap().len();
    assert!(size < 1000, "{size}");
    // The line comes after 15 seconds or a little more.
    let shown = [15, 16].map(|after| format!(" B of {size} B, {} B/s\n", size / 2 / after));
    let is_shown = shown.iter().any(|line| output.success().stderr.contains(line));
    assert!(is_shown, "{shown:?}\n{output}");
}

#[test]
fn a_killed_download_leaves_nothing_that_is_used() {
    let bare = Bare::new("killed");
    let server = bare.mirror.serve();
    server.fault(".zip", Fault::Stall(Duration::from_secs(60)));
    let mut running = bare.served(&server).spawn();
    running.wait_until("the download", |_| !server.asked(".zip").is_empty());
    running.signal(Signal::SIGKILL);
    assert_ne!(running.wait().code, 0);
    let server = bare.mirror.serve();
    bare.served(&server).run().success();
    let [program] = bare.cached().try_into().unwrap();
    assert!(program.ends_with("terraform"), "{}", program.display());
}
