//! The thermometer over a bus in memory: what its register says is what the node records.

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use tidegate_device::thermometer::ADDRESS;
use tidegate_device::{Sensor, SensorError, Thermometer};
use tidegate_link::Value;

/// A bus with one device that has one register.
struct Bus {
    address: u8,
    temperature: [u8; 2],
}

impl ErrorType for Bus {
    type Error = ErrorKind;
}

impl I2c for Bus {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), ErrorKind> {
        if address != self.address {
            return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
        }
        for operation in operations {
            match operation {
                Operation::Write(bytes) => assert_eq!(**bytes, [0], "the temperature's register"),
                Operation::Read(bytes) => bytes.copy_from_slice(&self.temperature),
            }
        }
        Ok(())
    }
}

#[test]
fn the_register_is_read_in_half_degrees() {
    for (temperature, tenths) in [
        ([0x15, 0x80], 215),
        ([0x7f, 0x00], 1270),
        ([0x00, 0x00], 0),
        ([0xff, 0x80], -5),
        ([0xf3, 0x00], -130),
        ([0x55, 0x7f], 850),
    ] {
        let mut thermometer = Thermometer::new(
            Bus {
                address: ADDRESS,
                temperature,
            },
            ADDRESS,
        );
        assert_eq!(thermometer.tenths(), Ok(tenths), "{temperature:02x?}");
        let readings = thermometer.measure().expect("a measurement");
        assert_eq!(readings[..], [Value::Integer(i64::from(tenths))]);
    }
}

#[test]
fn a_thermometer_that_is_not_there_gives_no_reading() {
    let mut thermometer = Thermometer::new(
        Bus {
            address: 0x4f,
            temperature: [0; 2],
        },
        ADDRESS,
    );
    assert_eq!(thermometer.measure(), Err(SensorError));
}
