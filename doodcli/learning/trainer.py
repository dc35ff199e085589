"""Training: one loop, resumed exactly where it was cut."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import nn

from doodcli.devices import tensor_cores
from doodcli.errors import RunFailed
from doodcli.learning import schedule
from doodcli.learning.batches import batch_of_step
from doodcli.learning.graphs import GraphedUpdate
from doodcli.learning.objective import (
    Baseline,
    Bound,
    Weights,
    blur_kernel,
    bound,
    learning_signal,
    nvil_surrogate,
    pathwise,
)
from doodcli.learning.team import SOLO
from doodcli.model.model import DrawingModel, Parts, as_input
from doodcli.model.noise import noise_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from doodcli.learning.schedule import Numbers, Phase
    from doodcli.learning.team import Team
    from doodcli.model.model import Scored
    from doodcli.model.noise import Noise
    from doodcli.settings import Settings

LOG_EVERY = 20
"""Steps that a row of the log is the mean of."""

REMEDY = "the last checkpoint is good; try a smaller --lr, or --set learning.clip=0.1"

COLLAPSED = 0.3
"""Mean strokes below which a model is about to stop drawing altogether."""


TERMS = (*Bound._fields, "gradient_norm")
"""What a row of the log is a mean of."""


class Window:
    """Sums over the steps since the last row of the log."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(len(TERMS), device=device)
        # The last step's terms, or those of the first step of which one is not finite; its number
        # comes first.
        self.suspect = torch.zeros(1 + len(TERMS), device=device)
        self.steps, self.since = 0, time.monotonic()

    def add(self, step: int | Tensor, terms: Tensor) -> None:
        """One step's terms, `[len(TERMS)]`; its number an int or int64 `[1]`."""
        self.sums += terms
        last = torch.cat([terms.new_zeros(1) + step, terms])
        self.suspect.copy_(torch.where(torch.isfinite(self.suspect).all(), last, self.suspect))

    def restart(self) -> None:
        """No steps, from now on."""
        self.sums.zero_()
        self.suspect.zero_()
        self.steps, self.since = 0, time.monotonic()


class Objective(nn.Module):
    """The loss as a function of the parameters, which is what processes share gradients of."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.model, self.baseline = trainer.model, trainer.baseline
        self.of = trainer.loss

    def forward(
        self, images: Tensor, noise: Noise, numbers: Numbers, phase: Phase
    ) -> tuple[Tensor, Scored, Tensor]:
        """As :meth:`Trainer.loss`."""
        return self.of(images, noise, numbers, phase)


class Trainer:
    """A model, its optimiser and its data; :meth:`steps` trains it.

    Everything random is a function of the seed and the step, so a resumed run needs no
    generator's state.
    """

    def __init__(
        self,
        settings: Settings,
        images: Tensor,
        index: Tensor,
        device: str,
        team: Team = SOLO,
        compiled: bool = False,
        graphed: bool = True,
    ) -> None:
        """`images` uint8 `[n, R, R]`; `index` int64 `[n]`, their identity in the data set.

        Each process of a `team` draws its share of every batch; their gradients, NVIL's statistics
        and the scales are those of the whole batch.  `compiled`: the pass over the strokes and its
        gradients are graphs of fused kernels, the same numbers to rounding.  `graphed`: on a
        CUDA device a process alone launches a step at once.
        """
        self.settings, self.team = settings, team
        self.device = torch.device(device)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            model = DrawingModel(settings.model, settings.learning.draw_bias)
            seen = model.posterior.evidence_size + settings.model.hidden
            self.baseline = Baseline(seen, settings.model.hidden // 2, settings.learning, team)
        self.model = model.to(self.device)
        self.baseline.to(self.device)
        self.images, self.index = images.to(self.device), index.to(self.device)
        # What each pixel's scale is the closed form of (the mean absolute error, for Laplace),
        # with a running mean's memory.
        self.error = torch.zeros_like(self.model.scale)
        self.graphed = None
        if graphed and self.device.type == "cuda" and team.size == 1:
            self.graphed = GraphedUpdate(self._update, settings.learning.batch_size, self.device)
        self.optimiser = self._optimiser()
        self.compiled = _compiled(self.model) if compiled else None
        self.objective = team.joined(Objective(self))
        self.step, self.seconds = 0, 0.0
        self.began = 0  # the step at which the optimiser knew nothing
        self.together = False
        self.window = Window(self.device)

    @property
    def done(self) -> float:
        """Fraction of the run that is done."""
        return schedule.progress(self.settings.learning, self.step, self.seconds)

    def steps(self) -> Iterator[dict[str, float] | None]:
        """Train to the end; yields after every step, with a row for the log now and then."""
        last = time.monotonic()
        while self.done < 1:
            if not self.together:
                # What is done between two steps is no training.  In turns with other models it is
                # theirs, on a device that all share.
                last = time.monotonic()
            self._one_step()
            if self.window.steps == LOG_EVERY:
                self._wait()  # the steps that were only begun count too
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            if self.settings.learning.minutes is not None:
                (self.seconds,) = self.team.agreed([self.seconds], self.device)
            yield self.row() if self.window.steps == LOG_EVERY or self.done >= 1 else None

    def _one_step(self) -> None:
        learning = self.settings.learning
        # Data: batch t is a function of (seed, t), and so is its noise.
        where = batch_of_step(len(self.images), learning.batch_size, self.settings.seed, self.step)
        numbers = schedule.numbers(self.settings.model, learning, self.step, self.done, self.began)
        phase = schedule.phase(learning, self.step)
        with tensor_cores(self.device):
            if self.graphed is None:
                self._update(self.team.share(where).to(self.device), self.step, numbers, phase)
            else:
                self.graphed(where, self.step, numbers, phase)
        self.window.steps += 1
        self.step += 1

    def _update(self, where: Tensor, step: int | Tensor, numbers: Numbers, phase: Phase) -> None:
        """One step on the images at `where`, int64 `[rows]`."""
        images = as_input(self.images[where])
        noise = noise_for(self.index[where], 1, self.settings.seed, first=step)
        for group in self.optimiser.param_groups:
            group["lr"] = numbers.rate * group["factor"]
        if not phase.first:
            mean = self.error / numbers.remembered
            scale = self.model.likelihood.best_scale(mean, numbers.scale_floor)
            self.model.scale.copy_(scale)
        # Forward, the bound, NVIL.
        loss, scored, apart = self.objective(images, noise, numbers, phase)
        terms = bound(scored, images)
        if self.looks_at_once:
            self._stop_unless_finite(terms, loss)
        # Backward and update.
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.learning.clip)
        if self.looks_at_once and not bool(torch.isfinite(norm)):
            raise RunFailed(
                f"step {self.step}: the gradient of {self._broken_gradient()} is not finite; "
                f"stopped before the update, {REMEDY}"
            )
        self.optimiser.step()
        with torch.no_grad():
            self._remember(scored, apart)
            self.window.add(step, torch.stack([*terms, norm]).detach())

    def _wait(self) -> None:
        """Until the steps that were begun are done, on an accelerator."""
        if self.graphed is not None:
            self.graphed.wait()
        elif self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def loss(
        self, images: Tensor, noise: Noise, numbers: Numbers, phase: Phase
    ) -> tuple[Tensor, Scored, Tensor]:
        """The loss of this step, what it is of, and the errors of its pixels `[rows, R, R]`."""
        scored = self.model.score(images, noise, self.compiled)
        seen, drawn = (
            self._as_compared(pictures, numbers, phase) for pictures in (images, scored.canvas)
        )
        compared = scored._replace(log_likelihood=self.model.log_likelihood(seen, drawn))
        return self._loss(compared, numbers, phase), scored, seen - drawn

    def _loss(self, scored: Scored, numbers: Numbers, phase: Phase) -> Tensor:
        """The loss in nats a pixel: pathwise bound, score function, and the baseline's own."""
        learning = self.settings.learning
        on_stop = learning.beta_on == "stop"
        weights = Weights(
            kl=numbers.kl_weight,
            stop=numbers.beta if on_stop else 1.0,
            signal=1.0 if on_stop else numbers.beta,
        )
        signal, baseline_loss = self.baseline(
            learning_signal(scored, weights), scored.seen, scored.alive
        )
        loss = baseline_loss - pathwise(scored, weights) / self.model.scale.numel()
        if phase.stopping:
            score = nvil_surrogate(signal, scored.log_q_on)
            loss = loss - learning.signal_weight * score
        return loss

    def _as_compared(self, pictures: Tensor, numbers: Numbers, phase: Phase) -> Tensor:
        """Targets or canvases as the likelihood that is learned from compares them.

        `[n, R, R]`.  At first both are blurred: ink that misses thin lines then still finds its
        way to them, instead of learning that it had better not be seen.
        """
        if not phase.blurred:
            return pictures
        kernel = blur_kernel(pictures.shape[-1], numbers.blur, pictures.device)
        return kernel @ pictures @ kernel

    def _remember(self, scored: Scored, apart: Tensor) -> None:
        """Running means: the error of each pixel, and the pen of the drawings."""
        memory = self.settings.learning.scale_memory
        moment = self.team.mean(self.model.likelihood.moment(apart).mean(0))
        self.error.lerp_(moment, 1 - memory)
        if self.settings.model.pen == "amortised":
            free = self.model.free_pen(scored.drawing.pen).flatten(0, 1).median(0).values
            self.model.typical_pen.lerp_(self.team.mean(free), 1 - memory)

    def row(self) -> dict[str, float]:
        """The means over the window, as a row of the log; starts a new window."""
        self._wait()
        window, steps = self.window, self.window.steps
        means = (self.team.mean(window.sums) / steps).tolist()
        if not all(map(math.isfinite, means)):
            step, *last = window.suspect.tolist()
            self._stop(int(step), dict(zip(TERMS, last, strict=True)), "before it was saved")
        seconds = max(1e-9, time.monotonic() - window.since)
        window.restart()
        learning = self.settings.learning
        return {
            "step": self.step,
            "images": self.step * learning.batch_size,
            "seconds": round(self.seconds, 2),
            **dict(zip(TERMS, means, strict=True)),
            "rate": schedule.rate(learning, self.step, self.done, self.began),
            "kl_weight": schedule.kl_weight(learning, self.step),
            "images_per_s": steps * learning.batch_size / seconds,
        }

    @property
    def looks_at_once(self) -> bool:
        """Whether a step's loss and gradient are looked at before its update.

        On an accelerator that would stop it at every step, so there they are looked at with every
        row of the log, and nothing is saved without one.
        """
        return self.device.type == "cpu"

    def _stop_unless_finite(self, terms: Bound, loss: Tensor) -> None:
        # Every process of a team stops where one of them has to.
        if not math.isfinite(self.team.total(loss).item()):
            values = {name: value.item() for name, value in terms._asdict().items()}
            self._stop(self.step, values, "before the update")

    def _stop(self, step: int, values: dict[str, float], when: str) -> NoReturn:
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        raise RunFailed(
            f"step {step}: {', '.join(broken) or 'the loss'} not finite; stopped {when}, {REMEDY}"
        )

    def _broken_gradient(self) -> str:
        """The name of the first parameter whose gradient is not finite."""
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                return name
        return "the model"

    def _optimiser(self) -> torch.optim.Optimizer:
        """Adam; the few parameters of the pen learn faster than the networks."""
        learning = self.settings.learning
        named = [*self.model.named_parameters(), *self.baseline.named_parameters(prefix="baseline")]
        self.named = dict(named)
        fast = [parameter for name, parameter in named if name == "prior.pen_raw"]
        usual = [parameter for name, parameter in named if name != "prior.pen_raw"]
        groups = [{"params": usual, "factor": 1.0}]
        if fast:
            groups.append({"params": fast, "factor": learning.pen_lr_factor})
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.Adam(
            groups, learning.lr, betas=(0.9, 0.99), fused=fused,
            capturable=self.graphed is not None,
        )  # fmt: skip

    # ------------------------------------------------------------- resuming

    def weights(self) -> dict[str, Tensor]:
        """The model's tensors."""
        return dict(self.model.state_dict())

    def training_state(self) -> dict[str, Tensor]:
        """All else that the next step depends on."""
        state = {f"baseline.{k}": v for k, v in self.baseline.state_dict().items()}
        state["error"] = self.error
        state["began"] = torch.tensor(self.began)
        for name, parameter in self.named.items():
            for key, value in self.optimiser.state[parameter].items():
                state[f"adam.{key}.{name}"] = value
        return state

    def restore(
        self, weights: dict[str, Tensor], state: dict[str, Tensor], facts: dict[str, Any]
    ) -> None:
        """Go back to a checkpoint."""
        self.model.load_state_dict(weights)
        prefix = "baseline."
        self.baseline.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        self.error.copy_(state["error"])
        self.began = int(state.get("began", 0))
        for name, parameter in self.named.items():
            self.optimiser.state[parameter] = {
                key: state[f"adam.{key}.{name}"].to(self.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self.step, self.seconds = facts["step"], facts["seconds"]

    def start_from(self, weights: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from weights alone: the optimiser and the baseline start anew, after a warm-up."""
        self.model.load_state_dict(weights)
        self.step, self.seconds, self.began = facts["step"], facts["seconds"], facts["step"]
        remembered = schedule.remembered(self.settings.learning, self.step)
        self.error.copy_(self.model.likelihood.moment(self.model.scale) * remembered)


def _compiled(model: DrawingModel) -> Parts:
    """The parts of a pass, each a graph of fused kernels."""
    return Parts(
        torch.compile(model.advance, fullgraph=True, dynamic=False),
        torch.compile(model.prior_terms, fullgraph=True, dynamic=False),
    )
