//! What a bench says, for people and for programs.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::SENDERS;
use super::judgement::{Judgement, Lifetime, Measured, Reason};
use crate::cli::arguments::OutputFormat;
use crate::cli::setup::machine::disk::{Disk, Medium};
use crate::cli::setup::machine::mounts::Mount;
use crate::cli::terminal::figures;
use crate::cli::terminal::table::{printable, wrapped};
use crate::config::unit;

/// Characters of a line of text.
const LINE_WIDTH: usize = 100;
/// `commit_delay_max` where nothing else is said.
const DELAY_MAX: Duration = Duration::from_millis(5);
/// No card and no turning disk writes in less.
const SYNC_MIN: Duration = Duration::from_micros(50);
const DAYS_PER_YEAR: f64 = 365.25;

/// See the module.
pub(in crate::cli::setup) struct Report {
    pub(super) folder: PathBuf,
    pub(super) mount: Option<Mount>,
    pub(super) disk: Option<Disk>,
    pub(super) events_per_s: [f64; SENDERS.len()],
    pub(super) rules_per_s: f64,
    pub(super) has_few_samples: bool,
    pub(super) measured: Measured,
    pub(super) judgement: Judgement,
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Figures beyond the point say nothing here.
fn whole(figure: f64) -> f64 {
    figure.round()
}

impl Report {
    /// What is proposed.
    pub(in crate::cli::setup) fn commit_delay(&self) -> Duration {
        self.judgement.commit_delay
    }

    /// Writes it to standard output.
    ///
    /// # Errors
    /// When that is closed.
    pub(in crate::cli::setup) fn write(&self, format: OutputFormat) -> std::io::Result<()> {
        let mut output = std::io::stdout().lock();
        match format {
            OutputFormat::Json => writeln!(output, "{:#}", self.json()),
            OutputFormat::Text => self.write_text(&mut output),
        }
    }

    fn json(&self) -> Value {
        let Report {
            measured,
            judgement,
            ..
        } = self;
        let sync = &measured.sync;
        let events = SENDERS.iter().zip(self.events_per_s);
        let events: serde_json::Map<String, Value> = events
            .map(|(senders, figure)| (senders.to_string(), json!(whole(figure))))
            .collect();
        let mut lifetime = json!(judgement.lifetime);
        lifetime["with_commit_delay"] = json!(judgement.with_delay);
        let delay = judgement.commit_delay;
        let warnings: Vec<String> = [self.unsynced(), self.warning()]
            .into_iter()
            .flatten()
            .collect();
        json!({
            "data_dir": self.folder,
            "file_system": self.mount.as_ref().map(|mount| &mount.kind),
            "disk": self.disk.as_ref().and_then(|disk| disk.name.as_ref()),
            "medium": self.disk.as_ref().map(|disk| disk.medium.name()),
            "sync": {
                "p50_ms": ms(sync.percentile(50)),
                "p99_ms": ms(sync.percentile(99)),
                "mean_ms": ms(sync.mean()),
                "samples": sync.count(),
            },
            "events_per_s": events,
            "bytes_per_event": whole(measured.bytes_per_event),
            "rules_per_s": whole(self.rules_per_s),
            "commit_delay": unit::duration_text(delay),
            "commit_delay_max": unit::duration_text(delay.max(DELAY_MAX)),
            "reason": self.reason(),
            "lifetime": lifetime,
            "warnings": warnings,
            "few_samples": self.has_few_samples,
        })
    }

    fn write_text(&self, output: &mut impl Write) -> std::io::Result<()> {
        let sync = &self.measured.sync;
        let [one, ten, hundred] = self
            .events_per_s
            .map(|figure| figures::count(figure as u64));
        writeln!(output, "{}", self.place())?;
        writeln!(
            output,
            "sync               p50 {} ms, p99 {} ms, {} ms in the mean",
            ms(sync.percentile(50)),
            ms(sync.percentile(99)),
            ms(sync.mean())
        )?;
        writeln!(
            output,
            "durable events/s   1 sender {one}   10 senders {ten}   100 senders {hundred}   (QoS 1, 200 B, 100 under way each)"
        )?;
        writeln!(
            output,
            "rules/s            {} on one core",
            figures::count(self.rules_per_s as u64)
        )?;
        let written = figures::count(whole(self.measured.bytes_per_event) as u64);
        let with = match (self.measured.bytes_with_delay, &self.judgement.with_delay) {
            (Some(bytes), Some(with)) => format!(
                ", {} B with a commit_delay of {} ms",
                figures::count(whole(bytes) as u64),
                with.commit_delay_ms
            ),
            _ => String::new(),
        };
        writeln!(
            output,
            "written per event  {written} B at {} events/s{with}",
            self.measured.rate
        )?;
        writeln!(output)?;
        for sentence in [
            self.lifetime(),
            self.proposal(),
            self.unsynced(),
            self.warning(),
        ]
        .iter()
        .flatten()
        {
            for line in wrapped(sentence, LINE_WIDTH) {
                writeln!(output, "{}", line.trim_start())?;
            }
        }
        Ok(())
    }

    fn place(&self) -> String {
        let folder = printable(&self.folder.display().to_string());
        let disk = self.disk.as_ref();
        let medium = disk.map_or("disk of an unknown kind", |disk| disk.medium.name());
        let name = disk
            .and_then(|disk| disk.name.as_deref())
            .unwrap_or_default();
        let kind = self.mount.as_ref().map_or("", |mount| &mount.kind);
        let article = match medium.starts_with("eMMC")
            || medium.starts_with("SSD")
            || medium.starts_with("SD")
        {
            true => "an",
            false => "a",
        };
        let place = match medium {
            "memory" => format!("{folder} lies in memory ({kind})"),
            medium => format!("{folder} lies on {article} {medium} {name} ({kind})"),
        };
        place.replace("  ", " ")
    }

    /// What the rate means for the disk.
    fn lifetime(&self) -> Option<String> {
        let now = &self.judgement.lifetime;
        let rate = now.events_per_s;
        let medium = self.disk.as_ref().map(|disk| disk.medium);
        if medium == Some(Medium::Memory) {
            return Some(
                "Nothing is written to a disk here, and everything is gone after a power cut: a store does not belong here."
                    .to_owned(),
            );
        }
        let Some(per_tb) = now.days_per_tb else {
            return Some(
                "The kernel counted nothing as written to a device, so nothing can be said of the disk's lifetime.".to_owned(),
            );
        };
        let per_day = figures::size(now.bytes_per_day as u64);
        let with = self.judgement.with_delay.as_ref();
        let delayed = |days: fn(&Lifetime) -> Option<f64>| {
            let lifetime = with?;
            let days = days(lifetime)?;
            Some(format!(
                ", and with a commit_delay of {} ms {}",
                lifetime.commit_delay_ms,
                span(days)
            ))
        };
        let begin = format!("At {rate} events/s the gateway writes {per_day} a day.");
        Some(match (now.days, now.endurance_bytes) {
            (Some(days), Some(endurance)) => format!(
                "{begin} A new disk that bears {} lasts {}{}.",
                unit::size_text(endurance),
                span(days),
                delayed(|lifetime| lifetime.days).unwrap_or_default()
            ),
            _ => format!(
                "{begin} What the disk bears is not configured: for each TB that its maker promises (TBW) it lasts {}{}. Write \
                 [store] endurance, or --endurance here.",
                span(per_tb),
                delayed(|lifetime| lifetime.days_per_tb).unwrap_or_default()
            ),
        })
    }

    /// What is proposed, as it is written, and why.
    fn proposal(&self) -> Option<String> {
        let delay = self.judgement.commit_delay;
        let written = match delay.is_zero() {
            true => "commit_delay = \"0ms\" (the default)".to_owned(),
            false => format!(
                "commit_delay = \"{0}\" with commit_delay_max = \"{1}\"",
                unit::duration_text(delay),
                unit::duration_text(delay.max(DELAY_MAX))
            ),
        };
        Some(format!("Proposed: {written}: {}.", self.reason()))
    }

    fn reason(&self) -> String {
        let rate = self.measured.rate;
        let delay = self.judgement.commit_delay.as_millis();
        match self.judgement.reason {
            Reason::NoDisk => "there is no disk to be spared".to_owned(),
            Reason::NoWear => {
                "a sync is fast, and no flash of a known kind is to be spared".to_owned()
            }
            Reason::LastsLongEnough => {
                format!("a sync is fast, and at {rate} events/s the disk lasts for over ten years")
            }
            Reason::TooFarApart => {
                format!(
                    "at {rate} events/s hardly two come within 200 ms, so that a delay saves nothing"
                )
            }
            Reason::SavesNothing => {
                "a delay was tried, and saves hardly anything at this rate".to_owned()
            }
            Reason::SparesDisk => format!(
                "several events share a commit and the disk is written less; an acknowledgement takes up to {delay} ms longer"
            ),
            Reason::SlowSync => format!(
                "a sync takes {} ms in the mean: commits that gather for as long leave the disk time to breathe",
                ms(self.measured.sync.mean())
            ),
        }
    }

    /// A sync that is too fast to be true.
    fn unsynced(&self) -> Option<String> {
        let option = self.mount.as_ref().and_then(Mount::without_barriers);
        if let Some(option) = option {
            return Some(format!(
                "Its file system is mounted with `{option}`: a sync does not reach the disk, a power cut may take acknowledged \
                 events, and these figures are better than they would be (`tidegate doctor` says what to do)."
            ));
        }
        let medium = self.disk.as_ref().map(|disk| disk.medium)?;
        let is_slow_kind = matches!(
            medium,
            Medium::Card | Medium::Emmc | Medium::UsbStick | Medium::HardDisk
        );
        let sync = self.measured.sync.percentile(50);
        (is_slow_kind && sync < SYNC_MIN).then(|| {
            format!(
                "No {} syncs in {} ms: something answers in its place, and a power cut may take acknowledged events.",
                medium.name(),
                ms(sync)
            )
        })
    }

    fn warning(&self) -> Option<String> {
        let few = self.has_few_samples;
        few.then(|| {
            "The time was short: the figures rest on few samples; 30s and more tell better."
                .to_owned()
        })
    }
}

/// Days as a person would say them.
fn span(days: f64) -> String {
    match days {
        days if days >= 100.0 * DAYS_PER_YEAR => "over 100 years".to_owned(),
        days if days >= 2.0 * DAYS_PER_YEAR => format!("{:.1} years", days / DAYS_PER_YEAR),
        days if days >= 2.0 => format!("{days:.0} days"),
        days => format!("{:.1} hours", days * 24.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_said_as_people_do() {
        let said = [36_525.0, 1_461.0, 233.4, 0.5].map(span);
        assert_eq!(
            said,
            ["over 100 years", "4.0 years", "233 days", "12.0 hours"]
        );
    }
}
