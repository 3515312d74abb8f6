//! Programs that do not end: each kind of life has an end.

use tokio::signal::unix::SignalKind;

use super::*;

fn sh(script: &str, life: Life) -> Program {
    let env = BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]);
    Program::new(Path::new("/bin/sh"), Path::new("/"), &env, RunAs::Ourselves, life)
        .args(["-c", script])
}

fn log() -> Log {
    Log::new(crate::base::redact::Redactor::default(), 0, true, false)
}

/// Every life but that of an apply.
const LIVES: [Life; 3] = [
    Life::Expendable(Limit::End),
    Life::Stoppable { limit: Limit::End, stop: Limit::End },
    Life::Stoppable { limit: Limit::End, stop: Limit::PostLines },
];
/// Deaf to all signals that can be ignored, and not alone.
const DEAF: &str = "trap '' INT TERM HUP; echo started; sleep 100 & while :; do sleep 0.1; done";

#[tokio::test]
async fn a_program_without_end_is_ended_at_its_limit() {
    for life in LIVES {
        let began = Instant::now();
        let never = Interrupt::never();
        let (log, mut sink) = (log(), |_: &str| ());
        let errors = tokio::join!(
            async { sh(DEAF, life).capture(&log, &never).await.err() },
            async { sh(DEAF, life).relay(&log, &never, &mut sink).await.err() },
            async { sh(DEAF, life).parse(&log, &never, |_| ()).await.err() },
        );
        for error in [errors.0, errors.1, errors.2] {
            let text = error.unwrap().to_string();
            assert!(text.contains("did not end within 2 s (the limit `end`)"), "{text}");
            assert!(text.contains("CDFLOW_LIMITS"), "{text}");
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{life:?}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_signal_ends_all_but_what_is_protected() {
    for (life, signals, most) in [
        (Life::Expendable(Limit::Git), 1, 1),
        (Life::Stoppable { limit: Limit::Git, stop: Limit::End }, 1, 5),
        (Life::Stoppable { limit: Limit::Git, stop: Limit::Git }, 2, 5),
    ] {
        let (signal, interrupt) = Interrupt::by_hand();
        let began = Instant::now();
        let mut sink = |line: &str| {
            assert_eq!(line, "started");
            signal.send(Some(Exit::Interrupted)).unwrap();
            if signals == 2 {
                interrupt.insist();
            }
        };
        let ended = sh(DEAF, life).relay(&log(), &interrupt, &mut sink).await.unwrap();
        assert_eq!(ended.code, 128 + 9, "{life:?}");
        assert!(began.elapsed() < Duration::from_secs(most), "{life:?}: {:?}", began.elapsed());
    }
    // Neither a second signal nor a limit ends an apply. A shell cannot trap a signal that was
    // ignored when it started, as in a job in the background; a signal that is handled is not.
    let _handled = tokio::signal::unix::signal(SignalKind::interrupt()).unwrap();
    let (signal, interrupt) = Interrupt::by_hand();
    signal.send(Some(Exit::Interrupted)).unwrap();
    interrupt.insist();
    let apply = sh("trap 'sleep 2; exit 3' INT; while :; do sleep 0.1; done", Life::Protected);
    assert_eq!(apply.capture(&log(), &interrupt).await.unwrap().code, 3);
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_not_waited_for() {
    let began = Instant::now();
    let daemon = "echo answer; setsid sleep 60 & exit 0";
    let captured = sh(daemon, LIVES[0]).capture(&log(), &Interrupt::never()).await.unwrap();
    assert_eq!((captured.code, captured.stdout), (0, b"answer\n".to_vec()));
    let took = began.elapsed();
    let limit = Limit::Output.time();
    assert!(took >= limit && took < limit + Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_program_that_waits_itself_has_more_time() {
    let waits = sh("sleep 3", LIVES[0]).longer_by(Duration::from_secs(10));
    assert_eq!(waits.capture(&log(), &Interrupt::never()).await.unwrap().code, 0);
}

/// A signal and a limit are not kept waiting by output that never ends.
#[tokio::test]
async fn output_without_end_delays_no_signal() {
    for output in [Output::Pipe, Output::Disk] {
        let (signal, interrupt) = Interrupt::by_hand();
        let mut lines = 0;
        let mut sink = |_: &str| {
            lines += 1;
            if lines == 1000 {
                signal.send(Some(Exit::Interrupted)).unwrap();
            }
        };
        let began = Instant::now();
        let program = sh("exec yes", Life::Expendable(Limit::Git)).with_output(output);
        let ended = program.relay(&log(), &interrupt, &mut sink).await.unwrap();
        assert_eq!(ended.code, 128 + 9);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}
