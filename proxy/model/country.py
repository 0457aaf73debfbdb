# SPDX-License-Identifier: Apache-2.0
"""Countries: ISO 3166-1 alpha-2 codes, upper case, and nothing else.

- ``HK``, ``MO`` and ``TW`` are codes of their own: "China" in a rule is a declared set, never a guess of ours.
- ``EU`` and ``EEA`` are no countries but sets; ``UK`` is not the code of the United Kingdom (``GB`` is), nor
  ``EL`` that of Greece (``GR`` is): ISO 3166-1 reserves them. They are refused with the right word.
- ``XK`` (Kosovo) is a user-assigned code that geolocation databases use; it is accepted.
"""

import enum
from typing import Final

_ISO_3166_1: Final = """\
AD AND Andorra
AE ARE United Arab Emirates
AF AFG Afghanistan
AG ATG Antigua and Barbuda
AI AIA Anguilla
AL ALB Albania
AM ARM Armenia
AO AGO Angola
AQ ATA Antarctica
AR ARG Argentina
AS ASM American Samoa
AT AUT Austria
AU AUS Australia
AW ABW Aruba
AX ALA Åland Islands
AZ AZE Azerbaijan
BA BIH Bosnia and Herzegovina
BB BRB Barbados
BD BGD Bangladesh
BE BEL Belgium
BF BFA Burkina Faso
BG BGR Bulgaria
BH BHR Bahrain
BI BDI Burundi
BJ BEN Benin
BL BLM Saint Barthélemy
BM BMU Bermuda
BN BRN Brunei Darussalam
BO BOL Bolivia
BQ BES Caribbean Netherlands
BR BRA Brazil
BS BHS Bahamas
BT BTN Bhutan
BV BVT Bouvet Island
BW BWA Botswana
BY BLR Belarus
BZ BLZ Belize
CA CAN Canada
CC CCK Cocos (Keeling) Islands
CD COD DR Congo
CF CAF Central African Republic
CG COG Congo
CH CHE Switzerland
CI CIV Côte d'Ivoire
CK COK Cook Islands
CL CHL Chile
CM CMR Cameroon
CN CHN China
CO COL Colombia
CR CRI Costa Rica
CU CUB Cuba
CV CPV Cabo Verde
CW CUW Curaçao
CX CXR Christmas Island
CY CYP Cyprus
CZ CZE Czechia
DE DEU Germany
DJ DJI Djibouti
DK DNK Denmark
DM DMA Dominica
DO DOM Dominican Republic
DZ DZA Algeria
EC ECU Ecuador
EE EST Estonia
EG EGY Egypt
EH ESH Western Sahara
ER ERI Eritrea
ES ESP Spain
ET ETH Ethiopia
FI FIN Finland
FJ FJI Fiji
FK FLK Falkland Islands (Malvinas)
FM FSM Micronesia
FO FRO Faroe Islands
FR FRA France
GA GAB Gabon
GB GBR United Kingdom
GD GRD Grenada
GE GEO Georgia
GF GUF French Guiana
GG GGY Guernsey
GH GHA Ghana
GI GIB Gibraltar
GL GRL Greenland
GM GMB Gambia
GN GIN Guinea
GP GLP Guadeloupe
GQ GNQ Equatorial Guinea
GR GRC Greece
GS SGS South Georgia and the South Sandwich Islands
GT GTM Guatemala
GU GUM Guam
GW GNB Guinea-Bissau
GY GUY Guyana
HK HKG Hong Kong
HM HMD Heard Island and McDonald Islands
HN HND Honduras
HR HRV Croatia
HT HTI Haiti
HU HUN Hungary
ID IDN Indonesia
IE IRL Ireland
IL ISR Israel
IM IMN Isle of Man
IN IND India
IO IOT British Indian Ocean Territory
IQ IRQ Iraq
IR IRN Iran
IS ISL Iceland
IT ITA Italy
JE JEY Jersey
JM JAM Jamaica
JO JOR Jordan
JP JPN Japan
KE KEN Kenya
KG KGZ Kyrgyzstan
KH KHM Cambodia
KI KIR Kiribati
KM COM Comoros
KN KNA Saint Kitts and Nevis
KP PRK North Korea
KR KOR South Korea
KW KWT Kuwait
KY CYM Cayman Islands
KZ KAZ Kazakhstan
LA LAO Laos
LB LBN Lebanon
LC LCA Saint Lucia
LI LIE Liechtenstein
LK LKA Sri Lanka
LR LBR Liberia
LS LSO Lesotho
LT LTU Lithuania
LU LUX Luxembourg
LV LVA Latvia
LY LBY Libya
MA MAR Morocco
MC MCO Monaco
MD MDA Moldova
ME MNE Montenegro
MF MAF Saint Martin
MG MDG Madagascar
MH MHL Marshall Islands
MK MKD North Macedonia
ML MLI Mali
MM MMR Myanmar
MN MNG Mongolia
MO MAC Macao
MP MNP Northern Mariana Islands
MQ MTQ Martinique
MR MRT Mauritania
MS MSR Montserrat
MT MLT Malta
MU MUS Mauritius
MV MDV Maldives
MW MWI Malawi
MX MEX Mexico
MY MYS Malaysia
MZ MOZ Mozambique
NA NAM Namibia
NC NCL New Caledonia
NE NER Niger
NF NFK Norfolk Island
NG NGA Nigeria
NI NIC Nicaragua
NL NLD Netherlands
NO NOR Norway
NP NPL Nepal
NR NRU Nauru
NU NIU Niue
NZ NZL New Zealand
OM OMN Oman
PA PAN Panama
PE PER Peru
PF PYF French Polynesia
PG PNG Papua New Guinea
PH PHL Philippines
PK PAK Pakistan
PL POL Poland
PM SPM Saint Pierre and Miquelon
PN PCN Pitcairn
PR PRI Puerto Rico
PS PSE Palestine
PT PRT Portugal
PW PLW Palau
PY PRY Paraguay
QA QAT Qatar
RE REU Réunion
RO ROU Romania
RS SRB Serbia
RU RUS Russian Federation
RW RWA Rwanda
SA SAU Saudi Arabia
SB SLB Solomon Islands
SC SYC Seychelles
SD SDN Sudan
SE SWE Sweden
SG SGP Singapore
SH SHN Saint Helena
SI SVN Slovenia
SJ SJM Svalbard and Jan Mayen
SK SVK Slovakia
SL SLE Sierra Leone
SM SMR San Marino
SN SEN Senegal
SO SOM Somalia
SR SUR Suriname
SS SSD South Sudan
ST STP Sao Tome and Principe
SV SLV El Salvador
SX SXM Sint Maarten
SY SYR Syria
SZ SWZ Eswatini
TC TCA Turks and Caicos Islands
TD TCD Chad
TF ATF French Southern Territories
TG TGO Togo
TH THA Thailand
TJ TJK Tajikistan
TK TKL Tokelau
TL TLS Timor-Leste
TM TKM Turkmenistan
TN TUN Tunisia
TO TON Tonga
TR TUR Türkiye
TT TTO Trinidad and Tobago
TV TUV Tuvalu
TW TWN Taiwan
TZ TZA Tanzania
UA UKR Ukraine
UG UGA Uganda
UM UMI United States Minor Outlying Islands
US USA United States
UY URY Uruguay
UZ UZB Uzbekistan
VA VAT Holy See (Vatican City State)
VC VCT Saint Vincent and the Grenadines
VE VEN Venezuela
VG VGB British Virgin Islands
VI VIR US Virgin Islands
VN VNM Vietnam
VU VUT Vanuatu
WF WLF Wallis and Futuna
WS WSM Samoa
YE YEM Yemen
YT MYT Mayotte
ZA ZAF South Africa
ZM ZMB Zambia
ZW ZWE Zimbabwe
XK XKX Kosovo
"""

_ROWS: Final = [line.split(" ", 2) for line in _ISO_3166_1.splitlines()]
NAMES: Final[dict[str, str]] = {code: name for code, _, name in _ROWS}
"""Code to English short name."""

_MEANT: Final = {alpha3: code for code, alpha3, _ in _ROWS} | {"UK": "GB", "EL": "GR"}
_SETS: Final = frozenset({"EU", "EEA", "EFTA", "APAC", "ASEAN", "GCC"})
_BY_NAME: Final = {name.casefold(): code for code, name in NAMES.items()}


def parse_country(text: str) -> str | None:
    """Return the code that ``text`` is in any letter case (``jp`` is ``JP``), or None if it is no country.

    For values of requests, tokens and databases. A name, an alpha-3 code or a padded code is no country.
    """
    if text in NAMES:
        return text
    upper = text.upper()
    return upper if len(text) == 2 and upper in NAMES and text.isascii() else None


def refuse_country(text: object) -> str:
    """Return the sentence for a text that is no country."""
    meant = suggest_country(str(text))
    return f"{text!r} is no ISO 3166-1 country code" + (f": {meant}" if meant else "")


def suggest_country(text: str) -> str:
    """Say what was probably meant by ``text``, for an author of policy files; empty if nothing is near."""
    upper = text.strip().upper()
    if upper in _MEANT:
        return f"the code is {_MEANT[upper]} ({NAMES[_MEANT[upper]]})"
    if upper in _SETS:
        return f"{upper} is no country: declare a set under country_sets and write ${upper.lower()}"
    if upper in NAMES:
        return f"write {upper} (upper case)"
    code = _BY_NAME.get(text.strip().casefold())
    return f"write {code} ({NAMES[code]})" if code else ""


class CountryForm(enum.StrEnum):
    """How a country is written where an API or a directory says it."""

    ALPHA2 = "alpha2"
    """``JP``, and nothing else."""
    LOWER = "alpha2-lower"
    """``jp``, and nothing else."""
    ALPHA3 = "alpha3"
    """``JPN``, and nothing else."""
    ANY_CASE = "alpha2-any-case"
    """``JP``, ``jp`` or ``Jp``."""
    NAME = "name"
    """``Japan``: the English short name as this product lists it."""


def read_country(text: str, form: CountryForm) -> str | None:
    """Return the code of a country that is written in one form, or None if it is no country so written."""
    return _FORMS[form].get(text)


def _read_forms() -> dict[CountryForm, dict[str, str]]:
    rows = [line.split(maxsplit=2) for line in _ISO_3166_1.splitlines()]
    return {
        CountryForm.ALPHA2: {code: code for code in NAMES},
        CountryForm.LOWER: {code.lower(): code for code in NAMES},
        CountryForm.ALPHA3: {alpha3: code for code, alpha3, _ in rows},
        CountryForm.ANY_CASE: {
            a + b: code for code in NAMES for a in (code[0], code[0].lower()) for b in (code[1], code[1].lower())
        },
        CountryForm.NAME: {name: code for code, name in NAMES.items()},
    }


_FORMS: Final = _read_forms()
