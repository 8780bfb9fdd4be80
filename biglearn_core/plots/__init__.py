"""Every figure of the repository: functions take results and return Axes or Figures."""
