//! The output of a build as lines, whichever builder wrote it.

use bollard::models::{BuildInfo, BuildInfoAux};

use self::{buildkit::BuildKitProgress, tail::Tail};

mod buildkit;
mod tail;

/// The output of one build so far.
#[derive(Default)]
pub(crate) struct BuildOutput {
    buildkit: BuildKitProgress,
    /// Of the classic builder: the beginning of a line, and the lines of the step it is at.
    partial: String,
    tail: Tail,
}

impl BuildOutput {
    pub(crate) fn lines(&mut self, info: &BuildInfo) -> Vec<String> {
        if let Some(BuildInfoAux::BuildKit(status)) = &info.aux {
            return self.buildkit.lines(status);
        }
        let mut lines = Vec::new();
        for part in info.stream.as_deref().unwrap_or_default().split_inclusive('\n') {
            self.partial.push_str(part);
            if part.ends_with('\n') {
                lines.extend(self.rest());
            }
        }
        // Of a pull; each layer's progress would be thousands of lines.
        if let (Some(status), None) = (&info.status, &info.progress_detail) {
            lines.push(match &info.id {
                Some(id) => format!("{id}: {status}"),
                None => status.clone(),
            });
        }
        lines
    }

    pub(crate) fn rest(&mut self) -> Vec<String> {
        let line = std::mem::take(&mut self.partial);
        let line = line.trim_end();
        if line.is_empty() {
            return Vec::new();
        }
        if line.starts_with("Step ") {
            self.tail = Tail::default();
        }
        self.tail.push(line);
        vec![line.to_owned()]
    }

    pub(crate) fn tail(&self) -> Vec<String> {
        match self.buildkit.tail() {
            lines if lines.is_empty() => self.tail.lines(),
            lines => lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_classic_builder() {
        let mut said = BuildOutput::default();
        let stream =
            |text: &str| BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() };
        assert_eq!(
            said.lines(&stream("Step 1/2 : FROM a\n ---> 12\nSte")),
            ["Step 1/2 : FROM a", " ---> 12"]
        );
        assert_eq!(said.lines(&stream("p 2/2 : RUN b\n")), ["Step 2/2 : RUN b"]);
        let pull = |detail: Option<bollard::models::ProgressDetail>| BuildInfo {
            id: Some("9f".to_owned()),
            status: Some("Downloading".to_owned()),
            progress_detail: detail,
            ..BuildInfo::default()
        };
        assert_eq!(said.lines(&pull(None)), ["9f: Downloading"]);
        assert!(said.lines(&pull(Some(<_>::default()))).is_empty());
        assert!(said.lines(&stream("no end")).is_empty());
        assert_eq!(
            (said.rest(), said.tail()),
            (vec!["no end".to_owned()], vec!["Step 2/2 : RUN b".to_owned(), "no end".to_owned()])
        );
    }
}
