//! Log lines out of what guests write.

/// Longest line, in bytes of UTF-8, mark included.
pub(super) const LINE_BYTES_MAX: usize = 4 << 10;
/// At the end of a line that was cut.
pub(super) const CUT: &str = " [cut]";

/// Text that arrives in pieces, made into lines.
#[derive(Default)]
pub(super) struct Lines {
    /// The line so far, at most one byte more than a line may have.
    line: Vec<u8>,
}

impl Lines {
    /// Adds text; gives each line that it completes to `emit`.
    pub(super) fn feed<E>(&mut self, mut text: &[u8], mut emit: impl FnMut(String) -> Result<(), E>) -> Result<(), E> {
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            self.extend(&text[..end]);
            emit(to_line(&std::mem::take(&mut self.line)))?;
            text = &text[end + 1..];
        }
        self.extend(text);
        Ok(())
    }

    /// The line that has no end yet, if it has begun.
    pub(super) fn finish(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        (!line.is_empty()).then(|| to_line(&line))
    }

    fn extend(&mut self, text: &[u8]) {
        let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&text[..text.len().min(room)]);
    }
}

/// One line: UTF-8, with what is not replaced, cut at a character with a mark if it is too long.
fn to_line(bytes: &[u8]) -> String {
    let mut line = String::from_utf8_lossy(bytes).into_owned();
    if line.len() > LINE_BYTES_MAX {
        line.truncate(line.floor_char_boundary(LINE_BYTES_MAX - CUT.len()));
        line.push_str(CUT);
    }
    line
}
