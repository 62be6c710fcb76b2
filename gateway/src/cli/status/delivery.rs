//! How long events take to each upstream, as `tidegate status` shows it.

use std::io::Write;

use crate::cli::terminal::table::Table;
use crate::cli::terminal::{color, figures};
use crate::observe::status::{DeliveryTraffic, UpstreamStatus};

/// A row for each upstream that acknowledged something; where that was not of late, all since the start.
pub(super) fn write(output: &mut impl Write, upstreams: &[UpstreamStatus]) -> std::io::Result<()> {
    let mut table = Table::new(&[
        "DELIVERY TO",
        ">EVENTS/S",
        ">LIVE P50",
        ">P99",
        ">BACKLOG P50",
        ">P99",
        "OF THE LAST",
    ]);
    let mut is_empty = true;
    for upstream in upstreams {
        let delivery = &upstream.delivery;
        let recent = &delivery.recent;
        let (window, time) = match recent.live.events + recent.backlog.events {
            0 => (&delivery.since_start, "all".to_owned()),
            _ => {
                let time = figures::span(recent.window_ms / 1000 * 1000);
                (recent, time)
            }
        };
        if window.live.events + window.backlog.events == 0 {
            continue;
        }
        is_empty = false;
        let of = |traffic: &DeliveryTraffic| [traffic.p50_ms, traffic.p99_ms].map(shown);
        let ([p50, p99], [backlog_p50, backlog_p99]) = (of(&window.live), of(&window.backlog));
        table.row([
            upstream.name.clone(),
            format!("{:.1}", recent.events_per_s),
            p50,
            p99,
            backlog_p50,
            backlog_p99,
            time,
        ]);
    }
    if is_empty {
        return Ok(());
    }
    writeln!(output)?;
    table.write(output, color::output_in_color())
}

/// `2.4 ms`, `38 ms`, `1.6 s`, `3 min 20 s`
fn shown(ms: Option<f64>) -> String {
    match ms {
        None => String::new(),
        Some(ms) if ms < 9.95 => format!("{ms:.1} ms"),
        Some(ms) if ms < 999.5 => format!("{ms:.0} ms"),
        Some(ms) if ms < 59_950.0 => format!("{:.1} s", ms / 1000.0),
        Some(ms) => figures::span(ms as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::status::{DeliveryStatus, DeliveryWindow};

    fn traffic(events: u64, p50_ms: f64, p99_ms: f64) -> DeliveryTraffic {
        DeliveryTraffic {
            events,
            p50_ms: Some(p50_ms),
            p99_ms: Some(p99_ms),
        }
    }

    #[test]
    fn each_upstream_that_acknowledged_something_has_its_row() {
        let upstream = |name: &str, recent, since_start| UpstreamStatus {
            name: name.into(),
            delivery: DeliveryStatus {
                recent,
                since_start,
            },
            ..UpstreamStatus::default()
        };
        let busy = DeliveryWindow {
            window_ms: 42_300,
            events_per_s: 123.4,
            live: traffic(5, 2.44, 38.2),
            backlog: traffic(1, 1_560.0, 200_000.0),
        };
        let quiet = DeliveryWindow {
            live: traffic(1, 0.04, 999.6),
            ..DeliveryWindow::default()
        };
        let upstreams = [
            upstream("cloud", busy.clone(), busy),
            upstream("new", DeliveryWindow::default(), DeliveryWindow::default()),
            upstream("archive", DeliveryWindow::default(), quiet),
        ];
        let mut output = Vec::new();
        write(&mut output, &upstreams).expect("a vector takes everything");
        let expected = "
DELIVERY TO  EVENTS/S  LIVE P50    P99  BACKLOG P50         P99  OF THE LAST
cloud           123.4    2.4 ms  38 ms        1.6 s  3 min 20 s  42 s
archive           0.0    0.0 ms  1.0 s                           all
";
        assert_eq!(String::from_utf8_lossy(&output), expected);
        output.clear();
        write(&mut output, &upstreams[1..2]).expect("a vector takes everything");
        assert!(output.is_empty(), "no heading without a row");
    }
}
