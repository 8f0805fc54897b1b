//! A bill of materials for an image: SPDX 2.3 as JSON. <https://spdx.github.io/spdx-spec/v2.3/>

use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::Record;
use store::Digest;

/// The document's text. The same record gives the same bytes.
///
/// `licence` is that of what is shipped, an SPDX expression; `created` is in seconds since 1970.
///
/// # Errors
/// A time whose year has more than four digits.
pub(crate) fn document(
    record: &Record,
    licence: Option<&str>,
    homepage: Option<&str>,
    created: i64,
) -> Result<String, jiff::Error> {
    let licence = licence.unwrap_or("NOASSERTION");
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-extension",
        "name": record.image.name,
        "versionInfo": record.image.version.as_str(),
        "packageFileName": record.image.to_string(),
        "downloadLocation": "NOASSERTION",
        "homepage": homepage.unwrap_or("NOASSERTION"),
        "filesAnalyzed": false,
        "licenseConcluded": licence,
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "ARCHIVE",
        "checksums": [checksum(&record.sha256)],
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-extension")];
    for (number, input) in record.inputs.iter().enumerate() {
        let id = format!("SPDXRef-input-{number}");
        let file = input.uri.split(['?', '#']).next().unwrap_or_default();
        packages.push(json!({
            "SPDXID": id,
            "name": file.rsplit('/').next().filter(|n| !n.is_empty()).unwrap_or(&input.uri),
            "downloadLocation": input.uri,
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "primaryPackagePurpose": "SOURCE",
            "checksums": [checksum(&input.sha256)],
            "comment": format!("verified by: {}", input.verified),
        }));
        relationships.push(relationship("SPDXRef-extension", "GENERATED_FROM", &id));
    }
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": record.image.to_string(),
        // One document, one name: that of the bytes it is about.
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{}", record.image, record.sha256.hex()),
        "creationInfo": { "created": timestamp(created)?, "creators": [format!("Tool: bakery-{}", record.tool)] },
        "packages": packages,
        "relationships": relationships,
    });
    Ok(format!("{document:#}\n"))
}

fn checksum(sha256: &Digest) -> Value {
    json!({ "algorithm": "SHA256", "checksumValue": sha256.hex() })
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// `YYYY-MM-DDThh:mm:ssZ` of seconds since 1970.
///
/// # Errors
/// A year that has more than four digits.
pub(super) fn timestamp(seconds: i64) -> Result<String, jiff::Error> {
    Ok(Timestamp::from_second(seconds)?.to_string())
}
