//! BuildKit's status messages as lines: each step with its number, its output and its result.

use std::collections::BTreeMap;

use bollard::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};

use super::tail::Tail;

#[derive(Default)]
pub(crate) struct BuildKitProgress {
    steps: BTreeMap<String, Step>,
    /// Digest of the step that failed.
    failed: Option<String>,
}

#[derive(Default)]
struct Step {
    number: usize,
    ended: bool,
    /// The beginning of a line whose end has not come yet.
    partial: String,
    tail: Tail,
}

impl BuildKitProgress {
    /// The lines that `status` adds.
    pub(crate) fn lines(&mut self, status: &StatusResponse) -> Vec<String> {
        let mut lines = Vec::new();
        for vertex in &status.vertexes {
            self.step(vertex, &mut lines);
        }
        for log in &status.logs {
            self.log(log, &mut lines);
        }
        lines.extend(
            status
                .warnings
                .iter()
                .map(|it| format!("warning: {}", String::from_utf8_lossy(&it.short))),
        );
        lines
    }

    /// The last lines of the step that failed.
    pub(crate) fn tail(&self) -> Vec<String> {
        let failed = self.failed.as_ref().and_then(|digest| self.steps.get(digest));
        failed.map(|step| step.tail.lines()).unwrap_or_default()
    }

    fn step(&mut self, vertex: &Vertex, lines: &mut Vec<String>) {
        if vertex.started.is_none() && !vertex.cached {
            return;
        }
        let next = self.steps.len() + 1;
        let step = self.steps.entry(vertex.digest.clone()).or_insert_with(|| {
            lines.push(format!("#{next} {}", vertex.name));
            Step { number: next, ..Step::default() }
        });
        if vertex.completed.is_none() || step.ended {
            return;
        }
        step.ended = true;
        if !step.partial.is_empty() {
            lines.push(step.line());
        }
        let ending = match (vertex.error.as_str(), vertex.cached) {
            ("", true) => "CACHED".to_owned(),
            ("", false) => format!("DONE {}", seconds(vertex)),
            (error, _) => format!("ERROR: {error}"),
        };
        lines.push(format!("#{} {ending}", step.number));
        if !vertex.error.is_empty() {
            self.failed = Some(vertex.digest.clone());
        }
    }

    fn log(&mut self, log: &VertexLog, lines: &mut Vec<String>) {
        let Some(step) = self.steps.get_mut(&log.vertex) else { return };
        for part in String::from_utf8_lossy(&log.msg).split_inclusive('\n') {
            step.partial.push_str(part);
            if part.ends_with('\n') {
                lines.push(step.line());
            }
        }
    }
}

impl Step {
    /// The line that has been gathered.
    fn line(&mut self) -> String {
        let line = std::mem::take(&mut self.partial);
        let line = line.trim_end_matches(['\n', '\r']);
        self.tail.push(line);
        format!("#{} {line}", self.number)
    }
}

fn seconds(vertex: &Vertex) -> String {
    let (Some(started), Some(completed)) = (&vertex.started, &vertex.completed) else {
        return String::new();
    };
    let tenths = (completed.seconds - started.seconds) * 10
        + i64::from((completed.nanos - started.nanos) / 100_000_000);
    format!("{}.{}s", tenths / 10, (tenths % 10).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(digest: &str, name: &str) -> Vertex {
        Vertex {
            digest: digest.into(),
            name: name.into(),
            started: Some(<_>::default()),
            ..Vertex::default()
        }
    }

    fn ended(vertex: Vertex, nanos: i32) -> Vertex {
        let mut completed = vertex.started.unwrap_or_default();
        (completed.seconds, completed.nanos) = (2, nanos);
        Vertex { completed: Some(completed), ..vertex }
    }

    fn log(vertex: &str, text: &str) -> VertexLog {
        VertexLog { vertex: vertex.into(), msg: text.into(), ..VertexLog::default() }
    }

    #[test]
    fn steps_output_and_ends() {
        let mut progress = BuildKitProgress::default();
        let begun = StatusResponse {
            vertexes: vec![vertex("a", "[1/2] FROM base"), vertex("b", "[2/2] RUN make")],
            logs: vec![log("b", "one\ntw"), log("a", "whole\r\n")],
            ..StatusResponse::default()
        };
        assert_eq!(
            progress.lines(&begun),
            ["#1 [1/2] FROM base", "#2 [2/2] RUN make", "#2 one", "#1 whole"]
        );
        let cached = Vertex { cached: true, ..ended(vertex("a", "[1/2] FROM base"), 0) };
        let failed =
            Vertex { error: "exit code: 1".into(), ..ended(vertex("b", "[2/2] RUN make"), 0) };
        let done = ended(vertex("c", "exporting"), 500_000_000);
        let rest =
            StatusResponse { vertexes: vec![cached.clone(), done], ..StatusResponse::default() };
        assert_eq!(progress.lines(&rest), ["#1 CACHED", "#3 exporting", "#3 DONE 2.5s"]);
        let end = StatusResponse {
            vertexes: vec![failed, cached],
            logs: vec![log("unknown", "x\n")],
            ..StatusResponse::default()
        };
        assert_eq!(progress.lines(&end), ["#2 tw", "#2 ERROR: exit code: 1"]);
        assert_eq!(progress.tail(), ["one", "tw"]);
    }
}
