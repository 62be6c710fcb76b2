//! What arrived upstream: the file that the demo's second gateway writes, entered into the ledger.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::ledger::Ledger;

/// The file that the upstream gateway appends to.
pub(super) struct DeliveredFile {
    path: PathBuf,
    read: u64,
    partial: Vec<u8>,
}

impl DeliveredFile {
    /// To be read from the beginning.
    pub(super) fn new(path: PathBuf) -> DeliveredFile {
        DeliveredFile {
            path,
            read: 0,
            partial: Vec::new(),
        }
    }

    /// Enters every whole line written since the last call.
    ///
    /// # Errors
    /// When the file exists but cannot be read.
    pub(super) fn catch_up(&mut self, ledger: &Ledger) -> std::io::Result<()> {
        let mut file = match std::fs::File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        file.seek(SeekFrom::Start(self.read))?;
        self.read += file.read_to_end(&mut self.partial)? as u64;
        let whole = self.partial.iter().rposition(|byte| *byte == b'\n');
        let rest = self.partial.split_off(whole.map_or(0, |at| at + 1));
        for line in std::mem::replace(&mut self.partial, rest).split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                enter(line, ledger);
            }
        }
        Ok(())
    }
}

/// Enters one structured CloudEvent. Sensors number their readings in the payload; devices by
/// the sequence in the id that the gateway minted for them.
fn enter(line: &[u8], ledger: &Ledger) {
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else {
        return ledger.invented();
    };
    let alarm = event["data"].get("severity").is_some();
    let sensor = event["data"]["sensor"].as_str();
    let number = event["data"]["n"].as_u64();
    match (sensor, number) {
        (Some(sensor), Some(n)) => ledger.delivered(sensor, alarm, n),
        _ => match device(&event) {
            Some((device, n)) => ledger.delivered(&device, false, n),
            None => ledger.invented(),
        },
    }
}

/// Device and sequence from an id of the form `<device>-<boot>-<sequence>`.
fn device(event: &serde_json::Value) -> Option<(String, u64)> {
    let (rest, sequence) = event["id"].as_str()?.rsplit_once('-')?;
    let (device, _boot) = rest.rsplit_once('-')?;
    Some((device.into(), sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_entered_only_when_they_are_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("delivered.jsonl");
        let ledger = Ledger::default();
        let mut delivered = DeliveredFile::new(path.clone());
        std::fs::write(
            &path,
            "{\"id\":\"1\",\"data\":{\"sensor\":\"s1\",\"n\":0}}\n{\"id\":\"dev",
        )
        .expect("writes");
        delivered.catch_up(&ledger).expect("reads");
        assert_eq!(ledger.arrived(), 1);
        std::fs::write(
            &path,
            "{\"id\":\"1\",\"data\":{\"sensor\":\"s1\",\"n\":0}}\n{\"id\":\"dev-7-12\"}\nnoise\n",
        )
        .expect("writes");
        delivered.catch_up(&ledger).expect("reads");
        assert_eq!((ledger.arrived(), ledger.balance(0, 0).invented), (2, 1));
    }
}
