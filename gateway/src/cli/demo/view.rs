//! What the demo shows: a live view on a terminal, a line a second in a pipe.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};

use crate::cli::terminal::table::wrapped;

/// How everything was at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// Since the start.
    pub elapsed: Duration,
    /// Whether the line to the upstream is up.
    pub line_up: bool,
    /// Whether the edge gateway's process runs.
    pub gateway_up: bool,
    /// What the gateway says of its upstream: `up`, `connecting`, …
    pub upstream: Option<String>,
    /// Events acknowledged to sensors and devices so far.
    pub accepted: u64,
    /// Arrived upstream so far.
    pub delivered: u64,
    /// Waiting in the gateway's store.
    pub backlog: u64,
    /// Acknowledged in the last second.
    pub accepted_per_s: u64,
    /// Arrived in the last second.
    pub delivered_per_s: u64,
    /// Median from publish to ack, of the latest acks.
    pub ack_p50: Duration,
    /// 99th percentile of the same.
    pub ack_p99: Duration,
}

/// Where a demo shows what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgressOutput {
    /// On standard output: live on a terminal, a line a second elsewhere.
    Stdout,
    /// A line a second on standard error.
    Stderr,
}

/// Where snapshots are shown.
pub(super) enum View {
    /// A terminal.
    Live(Box<Live>),
    /// Standard output that is a pipe or a file.
    Plain,
    /// Standard error, because standard output is for the books alone.
    PlainStderr,
}

/// A live view with its history.
pub(super) struct Live {
    terminal: DefaultTerminal,
    accepted: VecDeque<u64>,
    delivered: VecDeque<u64>,
    notes: VecDeque<String>,
}

/// Seconds of history in the sparklines.
const HISTORY: usize = 240;
/// Lines for notes below them, with their frame: with the rest, 24 in all.
const NOTES_HEIGHT: u16 = 11;
/// Notes kept.
const NOTES_MAX: usize = 10;

impl View {
    /// A live view if standard output is free for it and a terminal, else plain lines.
    pub(super) fn open(progress: ProgressOutput) -> View {
        if progress == ProgressOutput::Stderr {
            return View::PlainStderr;
        }
        if !std::io::stdout().is_terminal() {
            return View::Plain;
        }
        match ratatui::try_init() {
            Ok(terminal) => View::Live(Box::new(Live {
                terminal,
                accepted: VecDeque::new(),
                delivered: VecDeque::new(),
                notes: VecDeque::new(),
            })),
            Err(_) => View::Plain,
        }
    }

    /// Says what the demo does next.
    pub(super) fn note(&mut self, elapsed: Duration, text: &str) {
        let line = format!("{:>5.1}s  {text}", elapsed.as_secs_f64());
        match self {
            View::Plain => say(&line),
            View::PlainStderr => say_stderr(&line),
            View::Live(live) => {
                live.notes.push_back(line);
                if live.notes.len() > NOTES_MAX {
                    live.notes.pop_front();
                }
            }
        }
    }

    /// Shows a snapshot; called once a second.
    pub(super) fn show(&mut self, snapshot: &Snapshot) {
        match self {
            View::Plain => say(&plain(snapshot)),
            View::PlainStderr => say_stderr(&plain(snapshot)),
            View::Live(live) => live.show(snapshot),
        }
    }

    /// Whether somebody pressed `q` or Ctrl-C; never waits.
    pub(super) fn quit_requested(&self) -> bool {
        if !matches!(self, View::Live(_)) {
            return false;
        }
        while event::poll(Duration::ZERO).unwrap_or(false) {
            let Ok(Event::Key(key)) = event::read() else {
                continue;
            };
            let control_c =
                key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if control_c || key.code == KeyCode::Char('q') {
                return true;
            }
        }
        false
    }

    /// Gives the terminal back.
    pub(super) fn close(self) {
        if matches!(self, View::Live(_)) {
            ratatui::restore();
        }
    }
}

/// A closed pipe ends the lines, not the demo.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn say_stderr(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn plain(snapshot: &Snapshot) -> String {
    let state = match (snapshot.gateway_up, snapshot.line_up) {
        // Nobody can be asked how much waits.
        (false, _) => ", killed".to_owned(),
        (_, false) => format!(", {} waiting, cut", snapshot.backlog),
        (true, true) => format!(", {} waiting", snapshot.backlog),
    };
    format!(
        "{:>5.1}s {} acked ({}/s, p99 {}), {} delivered{state}",
        snapshot.elapsed.as_secs_f64(),
        snapshot.accepted,
        snapshot.accepted_per_s,
        millis(snapshot.ack_p99),
        snapshot.delivered,
    )
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn upstream(snapshot: &Snapshot) -> &str {
    snapshot.upstream.as_deref().unwrap_or("unknown")
}

impl Live {
    fn show(&mut self, snapshot: &Snapshot) {
        for (history, value) in [
            (&mut self.accepted, snapshot.accepted_per_s),
            (&mut self.delivered, snapshot.delivered_per_s),
        ] {
            history.push_back(value);
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
        let (accepted, delivered) = (&self.accepted, &self.delivered);
        let notes = &self.notes;
        // A terminal that went away shows nothing; the demo goes on to its books.
        let _ = self
            .terminal
            .draw(|frame| draw(frame, snapshot, accepted, delivered, notes));
    }
}

fn draw(
    frame: &mut Frame,
    snapshot: &Snapshot,
    accepted: &VecDeque<u64>,
    delivered: &VecDeque<u64>,
    notes: &VecDeque<String>,
) {
    let [head, upper, lower, foot] = Layout::vertical([
        Constraint::Length(5),
        Constraint::Min(4),
        Constraint::Min(4),
        Constraint::Length(NOTES_HEIGHT),
    ])
    .areas(frame.area());
    frame.render_widget(header(snapshot), head);
    for (area, title, history, color) in [
        (upper, "acknowledged / s", accepted, Color::Green),
        (lower, "delivered upstream / s", delivered, Color::Cyan),
    ] {
        let width = area.width.saturating_sub(2) as usize;
        let recent: Vec<u64> = history
            .iter()
            .skip(history.len().saturating_sub(width))
            .copied()
            .collect();
        let spark = Sparkline::default()
            .block(Block::bordered().title(title))
            .style(Style::new().fg(color))
            .data(&recent);
        frame.render_widget(spark, area);
    }
    let width = usize::from(foot.width.saturating_sub(2));
    let lines: Vec<String> = notes.iter().flat_map(|note| wrapped(note, width)).collect();
    let shown = usize::from(foot.height.saturating_sub(2));
    let lines = lines.iter().skip(lines.len().saturating_sub(shown));
    let lines: Vec<Line> = lines.map(|line| Line::raw(line.as_str())).collect();
    let notes = Paragraph::new(lines).block(Block::bordered().title("what happens · q ends"));
    frame.render_widget(notes, foot);
}

fn header(snapshot: &Snapshot) -> Paragraph<'static> {
    let state = |name: &str, up: bool| -> Span<'static> {
        let text = format!(" {name} {} ", if up { "up" } else { "DOWN" });
        if up {
            text.green()
        } else {
            text.white().on_red().bold()
        }
    };
    let first = Line::from(vec![
        format!("{:>6.1}s  sensors → ", snapshot.elapsed.as_secs_f64()).into(),
        state("gateway", snapshot.gateway_up),
        " → ".into(),
        state("line", snapshot.line_up),
        format!(" → upstream {}", upstream(snapshot)).into(),
    ]);
    let second = Line::raw(format!(
        "accepted {}   delivered {}   backlog {}",
        snapshot.accepted, snapshot.delivered, snapshot.backlog
    ));
    let third = Line::raw(format!(
        "from publish to ack: median {}, 99 % {}",
        millis(snapshot.ack_p50),
        millis(snapshot.ack_p99)
    ));
    let title = " tidegate demo: 20 MQTT sensors, 2 serial devices ";
    Paragraph::new(vec![first, second, third]).block(Block::bordered().title(title.bold()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// What there is at most.
    fn busiest() -> Snapshot {
        Snapshot {
            elapsed: Duration::from_millis(9_999_900),
            line_up: false,
            gateway_up: false,
            upstream: Some("connecting".to_owned()),
            accepted: 9_999_999,
            delivered: 9_999_999,
            backlog: 999_999,
            accepted_per_s: 99_999,
            delivered_per_s: 99_999,
            ack_p50: Duration::from_micros(99_900),
            ack_p99: Duration::from_micros(999_900),
        }
    }

    #[test]
    fn the_live_view_fits_a_terminal_of_80_by_24() {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a screen");
        let history = VecDeque::from(vec![1; HISTORY]);
        let note = |number| format!(" {number}.0s  note {number} says {}", "word ".repeat(20));
        let notes: VecDeque<String> = (0..NOTES_MAX).map(note).collect();
        let drawn = terminal.draw(|frame| draw(frame, &busiest(), &history, &history, &notes));
        drawn.expect("it is drawn");
        let screen = terminal.backend().to_string();
        for words in [
            "2 serial devices",
            "gateway DOWN",
            "line DOWN",
            "upstream connecting",
            "accepted 9999999   delivered 9999999   backlog 999999",
            "99 % 999.9 ms",
            "acknowledged / s",
            "delivered upstream / s",
            "q ends",
            "note 9 says",
        ] {
            assert!(screen.contains(words), "{words} in\n{screen}");
        }
        assert_eq!(
            screen.matches('└').count(),
            4,
            "each frame is closed\n{screen}"
        );
    }

    #[test]
    fn a_plain_line_fits_80_columns() {
        let usual = Snapshot {
            accepted: 99_999,
            delivered: 99_999,
            accepted_per_s: 9_999,
            backlog: 9_999,
            elapsed: Duration::from_millis(999_900),
            ack_p99: Duration::from_micros(99_900),
            ..busiest()
        };
        for up in [true, false] {
            let line = plain(&Snapshot {
                gateway_up: up,
                ..usual.clone()
            });
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
