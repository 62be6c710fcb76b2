//! Load, kills in the middle of it, and what arrives after the last restart.

pub mod audit;
pub mod kill_schedule;
pub mod overload;

use std::path::PathBuf;
use std::time::Duration;

use crate::books::Id;
use crate::gateway::Gateway;
use crate::mqtt::load::{Load, Share};
use crate::mqtt::publisher::Ledger;
use crate::mqtt::subscriber::Subscriber;
use crate::peer::mosquitto::Mosquitto;

const PUBLISHERS: u32 = 5;

/// A plan of load and kills.
pub struct CrashPlan {
    /// Events of all publishers together.
    pub events: u64,
    /// Events per second of all publishers together.
    pub per_second: f64,
    /// How often the gateway is killed, at random moments of the load.
    pub kills: u32,
    /// Another build of the gateway, with an environment variable.
    pub breach: Option<(PathBuf, &'static str)>,
}

impl CrashPlan {
    /// Kills the gateway in mid-load while its upstream is down, then brings the upstream up:
    /// what was sent and acknowledged, and what arrived. `None` where a peer is missing.
    ///
    /// # Panics
    /// When events are left unacknowledged at the end.
    pub fn run(&self, test: &str) -> Option<(Ledger, Vec<Option<Id>>)> {
        let mut broker = Mosquitto::new(test)?;
        let mut gateway = Gateway::new(&format!(
            "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n",
            broker.address
        ));
        if let Some((program, breach)) = &self.breach {
            gateway.program(program.clone());
            gateway.variable("TIDEGATE_NULL_CONTROL", breach);
        }
        gateway.start();
        let ledger = self.load(&mut gateway);
        gateway.kill();
        broker.start();
        let subscriber = Subscriber::start(broker.address);
        gateway.start();
        // Where events are lost, their number is never reached: then quiet alone ends the wait.
        let (enough, quiet_s) = match self.breach {
            None => (ledger.acknowledged.len(), 2),
            Some(_) => (1, 8),
        };
        let arrived = subscriber.settle(enough, Duration::from_secs(quiet_s));
        Some((
            ledger,
            arrived.into_iter().map(|arrival| arrival.id).collect(),
        ))
    }

    /// Publishes everything while the gateway is killed and started again.
    fn load(&self, gateway: &mut Gateway) -> Ledger {
        let share = Share {
            count: self.events / u64::from(PUBLISHERS),
            per_second: self.per_second / f64::from(PUBLISHERS),
            window: 100,
        };
        let load = Load::start(gateway.address, 0..PUBLISHERS, share);
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let seconds = self.events as f64 / self.per_second;
        for _ in 0..self.kills {
            let pause = random.f64() * 2.0 * seconds / f64::from(self.kills + 1);
            std::thread::sleep(Duration::from_secs_f64(pause));
            gateway.kill();
            gateway.start();
        }
        let (ledger, left) = load.end();
        assert_eq!(left, 0, "events left unacknowledged\n{}", gateway.log());
        ledger
    }
}
