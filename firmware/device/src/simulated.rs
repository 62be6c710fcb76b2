//! A sensor for a node that runs on a computer: a temperature that swings, and the count of measurements.

use crate::sensor::{Readings, Sensor, SensorError};
use tidegate_link::{Field, Kind, Schema, Value};

/// Steps of one swing up and down.
const PERIOD: u32 = 200;

/// Swings between 18.0 and 28.0 °C.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulated {
    measured: u32,
}

impl Sensor for Simulated {
    fn schema(&self) -> Schema {
        const FIELDS: &[Field<'static>] = &[
            Field {
                name: "temperature",
                unit: "Cel",
                kind: Kind::Integer { exponent: -1 },
            },
            Field {
                name: "count",
                unit: "",
                kind: Kind::Integer { exponent: 0 },
            },
        ];
        Schema { fields: FIELDS }
    }

    fn measure(&mut self) -> Result<Readings, SensorError> {
        let phase = self.measured % PERIOD;
        let tenths = 180 + i64::from(phase.min(PERIOD - phase));
        let values = [
            Value::Integer(tenths),
            Value::Integer(i64::from(self.measured)),
        ];
        self.measured = self.measured.wrapping_add(1);
        Readings::from_slice(&values).map_err(|_| SensorError)
    }
}
