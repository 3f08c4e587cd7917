"""What people call the parts of a building when they upload a photo: words by language, and how they put them."""

from __future__ import annotations

LANGUAGES = ("en", "fr", "de", "es", "it", "pt", "nl", "pl", "ca", "tr")

# concept -> language -> ways of saying it, singular and plural, plain and learned
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "portal": {
        "en": ("portal", "doorway", "main entrance", "portals", "west door"),
        "fr": ("portail", "grand portail", "porche", "portails"),
        "de": ("Portal", "Hauptportal", "Eingangsportal", "Westportal"),
        "es": ("portada", "puerta principal", "pórtico", "portadas"),
        "it": ("portale", "portale maggiore", "portali"),
        "pt": ("portal", "pórtico", "portais"),
        "nl": ("portaal", "hoofdportaal"),
        "pl": ("portal", "portal główny"),
        "ca": ("portalada", "portal"),
        "tr": ("taç kapı", "portal"),
    },
    "window": {
        "en": ("window", "windows", "lancet window", "arched window", "stained-glass window"),
        "fr": ("fenêtre", "vitrail", "fenêtres", "baie"),
        "de": ("Fenster", "Kirchenfenster", "Spitzbogenfenster", "Glasfenster"),
        "es": ("ventana", "ventanal", "vidriera", "ventanales"),
        "it": ("finestra", "finestre", "monofora", "vetrata"),
        "pt": ("janela", "janelas", "vitral"),
        "nl": ("raam", "glas-in-loodraam", "venster"),
        "pl": ("okno", "okna", "witraż"),
        "ca": ("finestra", "finestral"),
        "tr": ("pencere", "pencereler"),
    },
    "rose window": {
        "en": ("rose window", "west rose", "rose windows"),
        "fr": ("rosace", "grande rosace", "rose occidentale"),
        "de": ("Fensterrose", "Rosette", "Rosenfenster"),
        "es": ("rosetón", "rosetones"),
        "it": ("rosone", "rosoni"),
        "pt": ("rosácea",),
        "nl": ("roosvenster",),
        "pl": ("rozeta",),
        "ca": ("rosassa",),
        "tr": ("gül pencere",),
    },
    "tower": {
        "en": ("tower", "towers", "bell tower", "north tower"),
        "fr": ("tour", "tours", "clocher", "tour nord"),
        "de": ("Turm", "Türme", "Glockenturm", "Nordturm"),
        "es": ("torre", "torres", "campanario"),
        "it": ("torre", "campanile", "torri"),
        "pt": ("torre", "torre sineira", "torres"),
        "nl": ("toren", "torens", "klokkentoren"),
        "pl": ("wieża", "wieże", "dzwonnica"),
        "ca": ("torre", "campanar"),
        "tr": ("kule", "çan kulesi"),
    },
    "spire": {
        "en": ("spire", "spires", "steeple"),
        "fr": ("flèche", "flèches"),
        "de": ("Turmspitze", "Turmhelm", "Dachreiter"),
        "es": ("aguja", "chapitel", "agujas"),
        "it": ("guglia", "cuspide", "guglie"),
        "pt": ("agulha", "pináculo"),
        "nl": ("torenspits", "spits"),
        "pl": ("iglica", "hełm wieży"),
        "ca": ("agulla",),
        "tr": ("sivri kule",),
    },
    "dome": {
        "en": ("dome", "domes", "cupola"),
        "fr": ("dôme", "coupole", "dômes"),
        "de": ("Kuppel", "Kuppeln", "Hauptkuppel"),
        "es": ("cúpula", "cúpulas", "cimborrio"),
        "it": ("cupola", "cupole"),
        "pt": ("cúpula", "zimbório"),
        "nl": ("koepel", "koepels"),
        "pl": ("kopuła", "kopuły"),
        "ca": ("cúpula",),
        "tr": ("kubbe", "ana kubbe", "kubbeler"),
    },
    "minaret": {
        "en": ("minaret", "minarets"),
        "fr": ("minaret", "minarets"),
        "de": ("Minarett", "Minarette"),
        "es": ("minarete", "alminar", "minaretes"),
        "it": ("minareto", "minareti"),
        "pt": ("minarete", "minaretes"),
        "nl": ("minaret", "minaretten"),
        "pl": ("minaret", "minarety"),
        "ca": ("minaret",),
        "tr": ("minare", "minareler"),
    },
}

BUILDING: dict[str, dict[str, str]] = {
    "cathedral": {"en": "Cathedral", "fr": "Cathédrale", "de": "Kathedrale", "es": "Catedral", "it": "Cattedrale",
                  "pt": "Catedral", "nl": "Kathedraal", "pl": "Katedra", "ca": "Catedral", "tr": "Katedrali"},
    "mosque": {"en": "Mosque", "fr": "Mosquée", "de": "Moschee", "es": "Mezquita", "it": "Moschea", "pt": "Mesquita",
               "nl": "Moskee", "pl": "Meczet", "ca": "Mesquita", "tr": "Camii"},
    "synagogue": {"en": "Synagogue", "fr": "Synagogue", "de": "Synagoge", "es": "Sinagoga", "it": "Sinagoga",
                  "pt": "Sinagoga", "nl": "Synagoge", "pl": "Synagoga", "ca": "Sinagoga", "tr": "Sinagogu"},
}  # fmt: skip

# {part} is the word, {name} the landmark in that language, {place} its town
CAPTIONS: dict[str, tuple[str, ...]] = {
    "en": ("{part} of the {name}", "{name}, {part}", "Detail of the {part}, {name}, {place}", "The {part} in the evening",
           "The {part} seen from the square ({year})"),
    "fr": ("{part} de la {name}", "{name} : {part}", "Vue du {part}, {name}, {place}", "{part}, détail"),
    "de": ("{part} der {name}", "{name} – {part}", "{place}, {name}, {part}", "{part}, Detail, {year}"),
    "es": ("{part} de la {name}", "{name}. {part}.", "Detalle de {part}, {place}"),
    "it": ("{part} della {name}", "{name}, {part}", "{place} - {name} - {part}"),
    "pt": ("{part} da {name}", "{name}: {part}, {place}"),
    "nl": ("{part} van de {name}", "{name}, {part}"),
    "pl": ("{part}, {name}", "{place} - {name} - {part}"),
    "ca": ("{part} de la {name}", "{name}, {part}"),
    "tr": ("{name} {part}", "{place}, {name}, {part}"),
}

WHOLE: dict[str, tuple[str, ...]] = {
    "en": ("{name}, {place}", "{name} on a sunny day", "View of the {name} from the square", "{name}, exterior ({year})"),
    "fr": ("{name}, {place}", "Façade de la {name}", "Vue générale de la {name}"),
    "de": ("{name} in {place}", "Blick auf die {name}", "{place}: {name}, Außenansicht"),
    "es": ("{name}, {place}", "Fachada de la {name}", "Vista exterior de la {name}"),
    "it": ("{name}, {place}", "Facciata della {name}", "Veduta esterna della {name}"),
    "pt": ("{name}, {place}", "Vista da {name}"),
    "nl": ("{name}, {place}", "Zicht op de {name}"),
    "pl": ("{name}, {place}", "Widok ogólny: {name}"),
    "ca": ("{name}, {place}", "Vista de la {name}"),
    "tr": ("{place}, {name}", "{name} genel görünüm"),
}

# texts that name a part which the photo does not show, or only seem to
TRAPS = (
    "View from the north tower", "View from the dome over the old town", "Portal Avenue at noon", "Window shopping on the square",
    "Undercroft", "Rose garden behind the {name}", "Hotel Tower, {place}", "Vue depuis la tour nord", "Blick vom Turm nach Süden",
    "Tour de {place} 2014", "Restaurant La Coupole, {place}", "Spire Street, corner of Bell Lane", "Vista desde la torre",
)  # fmt: skip
EMPTY = ("", "", "", "IMG_{number}", "DSC{number}", "{place}", "{place} {year}", "Holiday {year}", "Own work", "P{number}.JPG", "SW",
         "NNE", "Urlaub {place} {year}", "{name}")  # fmt: skip
TOWNS = ("Valmora", "Ostrava Nova", "Brennfeld", "Saint-Orens-le-Vieux", "Karaköprü", "Montefalco al Mare", "Zielonka", "Puig de Roca",
         "Aldersgate", "Vila Serena", "Hoogwaarde", "Sarıdere")  # fmt: skip
PATRONS = {
    "cathedral": ("Saint Odo", "Our Lady of the Wells", "Saint Walburga", "the Three Kings"),
    "mosque": ("Gülhan Sultan", "Ali Pasha", "the Tilemakers", "Nur ed-Din"),
    "synagogue": ("Beth Shalom", "Tempelgasse", "Or Hadash", "the Weavers' Street"),
}
