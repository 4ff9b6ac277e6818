"""The table of laws, one row each. A user's own law is one more row: see power_sum and custom."""

from scalinglaws.laws import functions as f
from scalinglaws.laws.law import Law, custom, power_sum

HESTNESS = "Hestness et al. 2017, arXiv:1712.00409"
HOFFMANN = "Hoffmann et al. 2022, arXiv:2203.15556, eq. 2"
FREE, UP, STEEP = (-5.0, 5.0), (0.0, 5.0), (-100.0, 100.0)


def _bnsl(breaks: int) -> Law:
    params = f.bnsl_params(breaks)
    free = {p: STEEP for p in params if p[0] == "c"} | {p: (1e-3, 10.0) for p in params if p[0] == "f"}
    return Law(
        f"bnsl_{breaks}", f"E + B*x^-c0 * prod_i (1 + (x/d_i)^(1/f_i))^(-c_i*f_i), i = 1..{breaks}",
        "Caballero et al. 2022, arXiv:2210.14891, eq. 1", ("x",), params, function=f.bnsl(breaks),
        positive=("E", "B", *(p for p in params if p[0] in "df")), bounds=free, floor="E", draw=f.bnsl_starts(breaks),
        alike=tuple((f"d{i}", f"c{i}", f"f{i}") for i in range(1, breaks + 1)),
    )  # fmt: skip


def _row(name, function, equation, source, params, positive, **options) -> Law:
    return custom(function, params.split(), name=name, equation=equation, source=source,
                  positive=tuple(positive.split()), **options)  # fmt: skip


TURN = "quadratic in ln w, after Ho and Salimans 2022, arXiv:2207.12598, fig. 4"
ROWS = (
    power_sum("power", "A*x^-a", HESTNESS),
    power_sum("power_floor", "E + A*x^-a", HESTNESS),
    power_sum("chinchilla", "E + A*N^-a + B*D^-b", HOFFMANN),
    power_sum("size_steps_plain", "E + A*N^-a + B*S^-b", "the shape of arXiv:2203.15556 in size and steps"),
    power_sum("size_steps_interaction", "E + A*N^-a + B*N^g*S^-b", "size_steps_plain, B depends on size"),
    power_sum("size_steps_product", "E + A*N^-a*S^-b", "one term in both: more steps make up for size"),
    power_sum("size_training", "E + A*N^-a + B*N^b*C^-b", f"{HOFFMANN}, with training compute C ~ N D"),
    power_sum("size_training_steps", "E + A*N^-a + B*N^h*D^-b + K*N^g*S^-k",
              f"{HOFFMANN}, and a term in steps; both shift with size"),
    power_sum("steps_turn", "E + B*S^-b + C*S^c", "power_floor in steps and a rise", bounds={"c": UP}, trend="turns"),
    power_sum("size_steps_turn", "E + A*N^-a + B*S^-b + C*S^c", "size_steps_plain and a rise in steps",
              bounds={"c": UP}, trend="turns"),
    power_sum("size_steps_interaction_turn", "E + A*N^-a + B*N^g*S^-b + C*N^h*S^c", "terms in steps depend on size",
              bounds={"c": UP}, trend="turns"),
    _row("kaplan", f.kaplan, "((A/N)^(a/b) + B/D)^b", "Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5", "A a B b",
         "A B", bounds={"a": (1e-3, 10.0), "b": (1e-3, 10.0)}, draw=f.kaplan_starts),
    _bnsl(1), _bnsl(2), _bnsl(3),
    _row("m4", f.m4, "(y - L)/(U - y)^k = B*x^-c", "Alabdulmohsin et al. 2022, arXiv:2209.06640", "L U k B c",
         "L U k B", bounds={"c": (0.0, 10.0), "k": (1e-3, 50.0)}, floor="L", draw=f.m4_starts),
    _row("ceiling", f.ceiling, "C - A*x^-a", HESTNESS, "C A a", "C A", bounds={"a": (0.0, 10.0)},
         ranges={"a": (0.05, 4.0)}, linear=("C", "A"), trend="rises"),
    _row("size_steps_ceiling", f.size_steps_ceiling, "C - A*N^-a - B*S^-b", "ceiling in size and steps", "C A a B b",
         "C A B", bounds={"a": (0.0, 10.0), "b": (0.0, 10.0)}, ranges={"a": (0.05, 4.0), "b": (0.05, 4.0)},
         linear=("C", "A", "B"), trend="rises"),
    _row("sigmoid", f.sigmoid, "C/(1 + (m/x)^a)", "Ruan et al. 2024, arXiv:2405.10938, with an input as measure",
         "C m a", "C m", bounds={"a": (0.0, 20.0)}, ranges={"a": (0.1, 5.0), "m": "x"}, linear=("C",), trend="rises"),
    _row("guidance", f.guidance, "E + K*ln(w/W)^2", TURN, "E K W", "E K W", ranges={"W": "x"}, linear=("E", "K"),
         trend="turns"),
    _row("guidance_size", f.guidance_size, "E + A*N^-a + K*ln(w/(W*N^m))^2", TURN, "E A a K W m", "E A K W",
         bounds={"a": (0.0, 10.0), "m": FREE}, linear=("E", "A", "K"), draw=f.guidance_starts, floor="E",
         trend="turns"),
    _row("guidance_size_steps", f.guidance_size_steps, "E + A*N^-a + B*S^-b + K*ln(w/(W*N^m*S^k))^2", TURN,
         "E A a B b K W m k", "E A B K W", bounds={"a": (0.0, 10.0), "b": (0.0, 10.0), "m": FREE, "k": FREE},
         linear=("E", "A", "B", "K"), draw=f.guidance_starts, floor="E", trend="turns"),
)  # fmt: skip
LAWS = {row.name: row for row in ROWS}
CHOICES = {"size_steps": ("size_steps_plain", "size_steps_interaction")}  # the data choose between them
