//! The channels into the intake.

use tokio::sync::mpsc;

use crate::event::ack::Ack;
use crate::event::inlet::{Inlet, Offer};
use crate::intake::Redrive;
use crate::observe::audit::Awaited;
use crate::observe::{Observe, SystemEvent};

/// Batches of arrivals under way between sources and intake.
const BATCHES_MAX: usize = 1024;
/// Payload bytes under way between sources and intake.
const INLET_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// System events waiting for the intake.
const SYSTEM_EVENTS_MAX: usize = 256;
/// Changes waiting to be brought into the log.
const CHANGES_MAX: usize = 64;
/// Dead letters on their way back at once.
const REDRIVES_MAX: usize = 64;

/// The channels into the intake: the ends that send.
pub(in crate::run) struct IntakeChannels {
    pub(in crate::run) inlet: Inlet,
    pub(in crate::run) redrive: mpsc::Sender<Redrive>,
    pub(in crate::run) changes: ChangeChannels,
    pub(in crate::run) receivers: IntakeReceivers,
}

/// The ways of changes into the log.
pub(in crate::run) struct ChangeChannels {
    /// Their events, into the intake.
    pub(in crate::run) audits: mpsc::Sender<(SystemEvent, Ack)>,
    /// Those that somebody waits for, which nobody takes yet.
    pub(in crate::run) awaited: mpsc::Receiver<Awaited>,
}

/// The ends that the intake reads.
pub(in crate::run) struct IntakeReceivers {
    pub(in crate::run) offers: mpsc::Receiver<Offer>,
    pub(in crate::run) system: mpsc::Receiver<SystemEvent>,
    pub(in crate::run) audits: mpsc::Receiver<(SystemEvent, Ack)>,
    pub(in crate::run) redrives: mpsc::Receiver<Redrive>,
}

impl IntakeChannels {
    /// Opens them; system events go into theirs from now on.
    pub(in crate::run) fn open(observe: &Observe) -> IntakeChannels {
        let (inlet, offers) = Inlet::new(BATCHES_MAX, INLET_BYTES_MAX);
        let (system_sender, system) = mpsc::channel(SYSTEM_EVENTS_MAX);
        observe.route_system_events(system_sender);
        let (redrive, redrives) = mpsc::channel(REDRIVES_MAX);
        let (audits, audits_receiver) = mpsc::channel(1);
        let (change, awaited) = mpsc::channel(CHANGES_MAX);
        observe.route_changes(change);
        IntakeChannels {
            inlet,
            redrive,
            changes: ChangeChannels { audits, awaited },
            receivers: IntakeReceivers {
                offers,
                system,
                audits: audits_receiver,
                redrives,
            },
        }
    }
}
