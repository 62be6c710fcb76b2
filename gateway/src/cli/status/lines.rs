//! The lines that sources refused last, as `tidegate status` shows them.

use std::io::Write;

use crate::cli::terminal::figures;
use crate::cli::terminal::table::printable;
use crate::observe::status::SourceStatus;

/// The last refused lines of each source that refused some.
pub(super) fn write(output: &mut impl Write, sources: &[SourceStatus]) -> std::io::Result<()> {
    for source in sources {
        let Some(refused) = &source.refused_lines else {
            continue;
        };
        let lines = figures::counted(refused.count, "line");
        let name = &source.name;
        writeln!(output, "\n{name} refused {lines}, the last of them:")?;
        for line in &refused.last {
            let (time, why) = (figures::time(line.at_ms), printable(&line.why));
            let indent = " ".repeat(time.chars().count());
            writeln!(output, "  {time}  {why}")?;
            writeln!(output, "  {indent}  \"{}\"", printable(&line.begin))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::status::{RefusedLine, RefusedLines};

    #[test]
    fn refused_lines_stand_with_their_time_and_cause() {
        let line = |begin: &str, why: &str| RefusedLine {
            at_ms: 0,
            why: why.into(),
            bytes: 4,
            begin: begin.into(),
        };
        let gps = SourceStatus {
            name: "gps".into(),
            refused_lines: Some(RefusedLines {
                count: 1_234,
                last: [
                    line("21.5", "it has 1 column, the configuration names 2"),
                    line("a\u{1b}[2J", "it holds an ESC at character 2"),
                ]
                .into(),
            }),
            ..SourceStatus::default()
        };
        let mut output = Vec::new();
        write(&mut output, &[SourceStatus::default(), gps]).expect("room");
        let text = String::from_utf8_lossy(&output);
        let (heading, rest) = text.trim_start().split_once('\n').expect("lines");
        assert_eq!(heading, "gps refused 1,234 lines, the last of them:");
        let lines: Vec<&str> = rest.lines().collect();
        let [first, shown, second, noise] = &lines[..] else {
            panic!("{text}");
        };
        assert!(first.ends_with("  it has 1 column, the configuration names 2"));
        assert!(shown.ends_with("  \"21.5\"") && shown.len() < first.len());
        assert!(second.ends_with("  it holds an ESC at character 2"));
        assert!(noise.ends_with("\"a\u{fffd}[2J\""), "{noise}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }
}
