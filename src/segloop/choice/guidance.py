"""What is asked of a vision model, where the attention lies on its grid."""

from dataclasses import dataclass

from ..common.visible import plain
from ..errors import OptionError

FEATURES = ("tokens", "q", "k", "v", "q+k")  # all but the first are DINO's alone
WINDOW, PHOTO = VIEWS = ("window", "photo")


@dataclass(frozen=True)
class Guidance:
    """Constants of the guide. Raises OptionError for what is not possible."""

    vision_feature: str = "tokens"  # of FEATURES
    vision_view: str = WINDOW  # what it looks at: each window, or the whole photo, then on twice CLIP's grid

    def __post_init__(self) -> None:
        for name, allowed in (("vision_feature", FEATURES), ("vision_view", VIEWS)):
            value = getattr(self, name)
            if value not in allowed:
                what = f"{name}={plain(value)} is not possible"
                raise OptionError(what, f"it must be {', '.join(allowed[:-1])} or {allowed[-1]}")

    @property
    def sees_photos(self) -> bool:
        """Whether the vision model looks at the whole photo."""
        return self.vision_view == PHOTO
