//! A thermometer of the LM75 family (LM75, TMP105 and their likes) on an I2C bus.
//!
//! Register 0 holds the temperature: two's complement, big-endian, whole degrees in the first byte. With its
//! configuration register left as it is after power-on the sensor measures in steps of half a degree.

use crate::sensor::{Readings, Sensor, SensorError};
use embedded_hal::i2c::I2c;
use tidegate_link::{Field, Kind, Schema, Value};

/// The address with all address pins low.
pub const ADDRESS: u8 = 0x48;
const TEMPERATURE: u8 = 0;

/// One thermometer.
#[derive(Debug)]
pub struct Thermometer<I> {
    bus: I,
    address: u8,
}

impl<I: I2c> Thermometer<I> {
    /// The thermometer at `address` on `bus`.
    pub fn new(bus: I, address: u8) -> Self {
        Self { bus, address }
    }

    /// Temperature in tenths of a degree Celsius.
    pub fn tenths(&mut self) -> Result<i16, I::Error> {
        let mut register = [0; 2];
        // Two operations, each ended with a stop: some controllers cannot repeat a start.
        self.bus.write(self.address, &[TEMPERATURE])?;
        self.bus.read(self.address, &mut register)?;
        let halves = i16::from_be_bytes(register) >> 7;
        Ok(halves * 5)
    }
}

impl<I: I2c> Sensor for Thermometer<I> {
    fn schema(&self) -> Schema {
        const FIELDS: &[Field<'static>] = &[Field {
            name: "temperature",
            unit: "Cel",
            kind: Kind::Integer { exponent: -1 },
        }];
        Schema { fields: FIELDS }
    }

    fn measure(&mut self) -> Result<Readings, SensorError> {
        let tenths = self.tenths().map_err(|_| SensorError)?;
        Readings::from_slice(&[Value::Integer(i64::from(tenths))]).map_err(|_| SensorError)
    }
}
