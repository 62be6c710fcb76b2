//! What a node measures with.

use tidegate_link::schema::FIELD_COUNT_MAX;
use tidegate_link::{Schema, Value};

/// The values of one measurement, in the order of the sensor's schema.
pub type Readings = heapless::Vec<Value, FIELD_COUNT_MAX>;

/// The sensor gave no answer, or one that cannot be. The node tries again at its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensorError;

/// A source of readings.
pub trait Sensor {
    /// Names, units and types of what it measures.
    fn schema(&self) -> Schema;
    /// Measures once.
    fn measure(&mut self) -> Result<Readings, SensorError>;
}
