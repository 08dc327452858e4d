//! The unit that a variable's `EngineeringUnits` property names, as UCUM. Pure.
//!
//! OPC 10000-8, 5.6.4.3: `unitId` holds the letters of the unit's common code in UN/CEFACT recommendation 20, as one
//! number: `CEL` is 0x43454C. What the table does not know is tried by its symbol; what that does not tell either has
//! no UCUM name here, and its symbol is shown to a person instead.

use super::CEFACT;
use crate::config::unit::of_symbol;

/// Common codes of recommendation 20, those that machines have, with their names in UCUM.
const CODES: &[(&str, &str)] = &[
    // Temperature.
    ("CEL", "Cel"),
    ("FAH", "[degF]"),
    ("KEL", "K"),
    // Pressure.
    ("BAR", "bar"),
    ("MBR", "mbar"),
    ("PAL", "Pa"),
    ("A97", "hPa"),
    ("KPA", "kPa"),
    ("MPA", "MPa"),
    ("PS", "[psi]"),
    ("ATM", "atm"),
    // Volume.
    ("LTR", "L"),
    ("MLT", "mL"),
    ("HLT", "hL"),
    ("MTQ", "m3"),
    ("DMQ", "dm3"),
    ("CMQ", "cm3"),
    ("MMQ", "mm3"),
    ("GLL", "[gal_us]"),
    // Length, area, angle.
    ("MTR", "m"),
    ("KMT", "km"),
    ("DMT", "dm"),
    ("CMT", "cm"),
    ("MMT", "mm"),
    ("4H", "um"),
    ("C45", "nm"),
    ("INH", "[in_i]"),
    ("FOT", "[ft_i]"),
    ("MTK", "m2"),
    ("CMK", "cm2"),
    ("MMK", "mm2"),
    ("DD", "deg"),
    ("C81", "rad"),
    // Mass.
    ("KGM", "kg"),
    ("GRM", "g"),
    ("MGM", "mg"),
    ("TNE", "t"),
    ("LBR", "[lb_av]"),
    // Time, frequency, rotation.
    ("SEC", "s"),
    ("MIN", "min"),
    ("HUR", "h"),
    ("DAY", "d"),
    ("C26", "ms"),
    ("B98", "us"),
    ("C47", "ns"),
    ("HTZ", "Hz"),
    ("KHZ", "kHz"),
    ("MHZ", "MHz"),
    ("A86", "GHz"),
    ("RPM", "{rev}/min"),
    ("RPS", "{rev}/s"),
    ("2A", "rad/s"),
    // Speed, acceleration.
    ("MTS", "m/s"),
    ("KMH", "km/h"),
    ("2X", "m/min"),
    ("C16", "mm/s"),
    ("MSK", "m/s2"),
    // Flow.
    ("L2", "L/min"),
    ("G51", "L/s"),
    ("E32", "L/h"),
    ("MQH", "m3/h"),
    ("MQS", "m3/s"),
    ("KGS", "kg/s"),
    ("F31", "kg/min"),
    ("E93", "kg/h"),
    ("E18", "t/h"),
    // Electricity, energy, power.
    ("VLT", "V"),
    ("2Z", "mV"),
    ("KVT", "kV"),
    ("AMP", "A"),
    ("4K", "mA"),
    ("B22", "kA"),
    ("OHM", "Ohm"),
    ("B49", "kOhm"),
    ("FAR", "F"),
    ("WTT", "W"),
    ("C31", "mW"),
    ("KWT", "kW"),
    ("MAW", "MW"),
    ("D44", "var"),
    ("KVR", "kvar"),
    ("D46", "V.A"),
    ("KVA", "kV.A"),
    ("WHR", "W.h"),
    ("KWH", "kW.h"),
    ("MWH", "MW.h"),
    ("GWH", "GW.h"),
    ("K3", "kvar.h"),
    ("JOU", "J"),
    ("KJO", "kJ"),
    ("3B", "MJ"),
    ("BHP", "[HP]"),
    ("G42", "uS/cm"),
    ("H61", "mS/cm"),
    // Force, torque.
    ("NEW", "N"),
    ("B47", "kN"),
    ("NU", "N.m"),
    ("B48", "kN.m"),
    // Density, concentration, light, sound, data.
    ("KMQ", "kg/m3"),
    ("GL", "g/L"),
    ("M1", "mg/L"),
    ("23", "g/cm3"),
    ("Q30", "[pH]"),
    ("59", "[ppm]"),
    ("P1", "%"),
    ("LUX", "lx"),
    ("LUM", "lm"),
    ("D54", "W/m2"),
    ("2N", "dB"),
    ("AD", "By"),
    ("2P", "kBy"),
    ("4L", "MBy"),
    // Counts.
    ("C62", "1"),
    ("H87", "{piece}"),
    ("EA", "{each}"),
];

/// The letters that a `unitId` holds.
fn code(unit_id: i32) -> String {
    let bytes = unit_id.to_be_bytes();
    bytes.iter().skip_while(|byte| **byte == 0).map(|byte| char::from(*byte)).collect()
}

/// The unit in UCUM, or `None` if it is not known.
pub fn ucum(namespace: &str, unit_id: i32, symbol: &str) -> Option<&'static str> {
    let find = |table: &[(&str, &'static str)], wanted: &str| {
        table.iter().find(|(name, _)| *name == wanted).map(|(_, ucum)| *ucum)
    };
    let by_code = if namespace == CEFACT { find(CODES, &code(unit_id)) } else { None };
    by_code.or_else(|| of_symbol(symbol))
}
