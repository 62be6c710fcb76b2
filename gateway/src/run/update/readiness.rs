//! The moment at which a gateway is ready: its mark is on the disk before the first event is acknowledged, so that a program
//! without one can be taken back with all that it did.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::observe::{Happening, Observe, SystemEvent};
use crate::run::signals::Signals;
use crate::run::systemd;
use crate::run::update::gate::state::PutBack;
use crate::run::update::standing::{Standing, Told};
use crate::time::task;

/// How long to wait before the mark of a program on trial is written again.
const AGAIN: Duration = Duration::from_secs(2);

/// Leaves the mark; `false` where this is told to end before there is room for it.
///
/// # Errors
/// In words, why a program on trial cannot leave it.
pub(in crate::run) async fn leave_mark(
    standing: &Arc<Standing>,
    observe: &Observe,
    signals: &mut Signals,
) -> Result<bool, String> {
    let mut is_told = false;
    loop {
        let of_thread = Arc::clone(standing);
        let left = task::blocking("the mark of readiness", move || of_thread.leave_mark()).await;
        let error = match left.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(told) => {
                if let Some(told) = told {
                    tell(&told, observe);
                }
                return Ok(true);
            }
            Err(error) => error,
        };
        if !standing.needs_mark() {
            tracing::warn!(%error, "the mark that this program was ready cannot be written: after an upgrade there may be no way back to it");
            return Ok(true);
        }
        let is_no_room = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        if !is_no_room {
            standing.leave_words(&format!("its mark cannot be written: {error}"), false);
            return Err(error.to_string());
        }
        if !std::mem::replace(&mut is_told, true) {
            tracing::error!(%error, "this program is new, and its mark cannot be written: until there is room nothing is accepted");
        }
        let waits = "waiting for room on the disk to write the mark of a new program";
        systemd::waiting(AGAIN * 5, waits);
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = signals.end() => {
                standing.leave_words(waits, true);
                return Ok(false);
            }
        }
    }
}

/// This program is one that was put back.
struct WasPutBack<'a>(&'a PutBack);

impl Happening for WasPutBack<'_> {
    fn log(&self) {
        tracing::warn!("{}", self.0.sentence());
    }

    fn system_event(&self) -> Option<SystemEvent> {
        let PutBack {
            from,
            to,
            store,
            why,
            after: _,
        } = self.0;
        Some(SystemEvent {
            kind: "dev.tidegate.gateway.put_back",
            subject: "gateway".to_owned(),
            data: json!({ "from": from.version, "to": to.version, "store": store, "why": why }),
        })
    }
}

fn tell(told: &Told, observe: &Observe) {
    let put_back = &told.put_back;
    if told.is_new {
        observe.emit(&WasPutBack(put_back));
    }
    let what = format!(
        "{}. `dpkg -l tidegate` still shows the version that failed; `tidegate --version` says what runs. Install another \
         release, or this one's package again, to end this trouble",
        put_back.sentence()
    );
    observe.raise("gateway", "put_back", &what);
}
